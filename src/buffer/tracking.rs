// SPDX-License-Identifier: GPL-2.0

//! Which buffers are tracked at all.
//!
//! Hibernation saves memory as a CPU reads it, which is no view that a buffer knows of. A line that
//! is stale then is saved instead of what a device has written. So the tracking of all buffers ends
//! before, with all lines invalidated, and buffers that are exported until the end of hibernation
//! are not tracked, also if the module is loaded meanwhile.
//!
//! # Locks
//!
//! The lock of a buffer's importers is acquired with the kernel's lock of its chain of notifiers
//! held, and no other one of this module.

use crate::{
    abstractions::{
        exporter,
        hibernation::{
            Hibernation,
            Notifier, //
        }, //
    },
    all_buffers, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Whether buffers that are exported now are tracked.
static NEW_BUFFERS: Atomic<bool> = Atomic::new(false);

/// Returns whether buffers that are exported now are tracked.
#[inline]
pub(super) fn of_new_buffers() -> bool {
    NEW_BUFFERS.load(Relaxed)
}

/// The tracking of buffers, from its begin until this is dropped.
#[must_use = "buffers are not tracked when this is dropped"]
pub(crate) struct Tracking(#[allow(dead_code)] Notifier<Tracked>);

impl Tracking {
    /// Begins to track new buffers, or lets the end of hibernation do that. May sleep. Fails with
    /// `ENOMEM`.
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(Notifier::register(Arc::new(Tracked, GFP_KERNEL)?)?))
    }
}

struct Tracked;

impl Hibernation for Tracked {
    fn prepare(&self) -> Result {
        // A buffer that is recorded later finds this.
        NEW_BUFFERS.store(false, Relaxed);
        // Of this failure the kernel informs the other notifiers only.
        all_buffers::for_each_own(exporter::end_tracking).inspect_err(|_| self.finished())
    }

    fn finished(&self) {
        NEW_BUFFERS.store(true, Relaxed);
    }
}
