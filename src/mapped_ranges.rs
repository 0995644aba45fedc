// SPDX-License-Identifier: GPL-2.0

//! The ranges of device addresses of dma-bufs: copies of scatter lists, for readers of `/proc`.
//!
//! Only an exporter knows the mappings of its dma-bufs. [`TrialMappings`] maps the dma-buf of any
//! exporter for a device of this module, copies the ranges, and unmaps it again.
//!
//! # Locks
//!
//! Attaching, detaching and unmapping acquire the reservation lock of the dma-buf, which others may
//! hold for any time, and cannot be interrupted. So a thread does all of it, for callers that can.

use crate::abstractions::{
    cache_cleaner::Cleaner,
    dma_buf::ActiveRef,
    killable_call::{
        Job,
        KillableCalls, //
    },
    once_box::OnceBox,
    sg_table::MappedTable, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A device address and a length in bytes.
pub(crate) type Range = (u64, usize);

/// Replaces `copied` by the ranges of `table`, if its capacity suffices. Otherwise empties it and
/// returns the number of ranges that it needs capacity for. Does not sleep.
pub(crate) fn copy(table: &MappedTable<'_>, copied: &mut KVVec<Range>) -> usize {
    copied.clear();
    if copied.capacity() < table.len() {
        return table.len();
    }
    for range in table.ranges() {
        // The capacity suffices.
        let _ = copied.push_within_capacity(range);
    }
    0
}

/// Maps dma-bufs for a device, one at a time.
pub(crate) struct TrialMappings {
    device: Arc<Cleaner>,
    /// The thread, which most machines never need.
    calls: OnceBox<KillableCalls<Trial>>,
}

/// One mapping of a dma-buf.
struct Trial {
    device: Arc<Cleaner>,
    dma_buf: ActiveRef,
    ranges: KVVec<Range>,
    /// What [`copy`] returned.
    missing: usize,
    result: Result,
}

impl TrialMappings {
    /// Prepares mappings for `device`.
    pub(crate) fn new(device: Arc<Cleaner>) -> Self {
        Self {
            device,
            calls: OnceBox::new(),
        }
    }

    /// Copies the ranges of `dma_buf` for the device to `ranges`, as [`copy`] does. Returns both
    /// results.
    ///
    /// May sleep. Fails with `EINTR` on a fatal signal, with `ENOMEM`, with `EBUSY` if the
    /// dma-buf is in use, or one that was tried before, and as its exporter does.
    pub(crate) fn ranges(
        &self,
        dma_buf: ActiveRef,
        ranges: KVVec<Range>,
    ) -> Result<(KVVec<Range>, usize)> {
        let calls = match self.calls.get() {
            Some(calls) => calls,
            None => self
                .calls
                .get_or_init(KillableCalls::new(c"rk_dma_heap_sgt")?)?,
        };
        let trial = calls.call(Trial {
            device: self.device.clone(),
            dma_buf,
            ranges,
            missing: 0,
            result: Ok(()),
        })?;
        trial.result?;
        Ok((trial.ranges, trial.missing))
    }
}

impl Job for Trial {
    fn run(&mut self) {
        self.result = self.device.attach(&self.dma_buf).map(|attachment| {
            if let Some(table) = attachment.table() {
                self.missing = copy(&table, &mut self.ranges);
            }
        });
    }
}
