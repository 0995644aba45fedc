// SPDX-License-Identifier: GPL-2.0

//! Notification before the kernel kills a process because memory is exhausted.
//!
//! It does not if that frees pages. Cgroups that are at their limit are not announced.
//!
//! C header: [`include/linux/oom.h`](srctree/include/linux/oom.h)

use crate::{
    abstractions::notifier::{
        Chain,
        Notifier,
        Registration, //
    },
    bindings as c, //
};
use core::ffi::c_void;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    sync::Arc, //
};

/// Who has pages that can be freed at any time.
pub(crate) trait LastResort: Send + Sync + 'static {
    /// Frees them, and returns their number. Called in reclaim context, under the kernel's lock for
    /// killing processes: must neither allocate nor wait for anybody who allocates.
    fn free(&self) -> usize;
}

/// The registration of a [`LastResort`].
///
/// Dropping it waits for running calls.
///
/// # Examples
///
/// ```
/// use crate::abstractions::oom_notifier::{LastResort, OomNotifier};
/// use kernel::sync::Arc;
///
/// struct Empty;
///
/// impl LastResort for Empty {
///     fn free(&self) -> usize {
///         0
///     }
/// }
///
/// let notifier = OomNotifier::register(Arc::new(Empty, GFP_KERNEL)?)?;
/// // The kernel does not call the function after this.
/// drop(notifier);
/// ```
#[must_use = "dropping this ends the notification"]
pub(crate) struct OomNotifier<T: LastResort>(
    #[allow(dead_code)] Pin<KBox<Registration<CallLastResort<T>>>>, //
);

impl<T: LastResort> OomNotifier<T> {
    /// Registers `owner`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register(owner: Arc<T>) -> Result<Self> {
        KBox::pin_init(Registration::new(CallLastResort(owner)), GFP_KERNEL).map(Self)
    }
}

/// The chain that the kernel calls before it kills a process.
struct Exhausted;

// SAFETY: These are the functions of one chain. A semaphore is held during each call, and to remove
// a block.
unsafe impl Chain for Exhausted {
    /// The kernel's sum of the pages that were freed.
    type Event<'a> = &'a mut c_ulong;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { c::register_oom_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirements.
        unsafe { c::unregister_oom_notifier(block) };
    }

    unsafe fn event<'a>(_: c_ulong, freed: *mut c_void) -> Option<Self::Event<'a>> {
        // SAFETY: The chain passes a pointer to a sum that nobody else uses during the call.
        Some(unsafe { &mut *freed.cast() })
    }
}

/// Calls the function of `T`.
struct CallLastResort<T>(Arc<T>);

impl<T: LastResort> Notifier for CallLastResort<T> {
    type Chain = Exhausted;

    fn notify(&self, freed: &mut c_ulong) -> Result {
        *freed += self.0.free();
        Ok(())
    }
}
