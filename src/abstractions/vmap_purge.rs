// SPDX-License-Identifier: GPL-2.0

//! Notification when the kernel finds no address space for a mapping by `vmap()` or `vmalloc()`.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::{
    abstractions::notifier::{
        Chain,
        Notifier,
        Registration, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*, //
};

/// Who has mappings that can be unmapped at any time.
pub(crate) trait Purge: 'static {
    /// Unmaps them, and returns the number of pages of address space that this freed. The kernel
    /// tries again if there are any.
    ///
    /// May sleep, but must neither allocate nor wait for anybody who allocates: the caller may hold
    /// any lock under which it may sleep, and it holds that of the chain of notifiers.
    fn purge() -> usize;
}

/// The registration of a [`Purge`].
///
/// Dropping it waits for running calls.
///
/// # Examples
///
/// ```
/// use crate::abstractions::vmap_purge::{Purge, Purger};
///
/// struct Empty;
///
/// impl Purge for Empty {
///     fn purge() -> usize {
///         0
///     }
/// }
///
/// let purger = Purger::<Empty>::register()?;
/// // The kernel does not call the function after this.
/// drop(purger);
/// ```
#[must_use = "dropping this ends the notification"]
pub(crate) struct Purger<T: Purge>(
    #[allow(dead_code)] Pin<KBox<Registration<CallPurge<T>>>>, //
);

impl<T: Purge> Purger<T> {
    /// Registers the function of `T`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register() -> Result<Self> {
        let registration = Registration::new(CallPurge(PhantomData));
        KBox::pin_init(registration, GFP_KERNEL).map(Self)
    }
}

/// The chain that the kernel calls when it finds no address space.
struct NoAddressSpace;

// SAFETY: These are the functions of one chain. A semaphore is held during each call, and to remove
// a block.
unsafe impl Chain for NoAddressSpace {
    /// The kernel's sum of the pages that were freed.
    type Event<'a> = &'a mut c_ulong;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { c::register_vmap_purge_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirements.
        unsafe { c::unregister_vmap_purge_notifier(block) };
    }

    unsafe fn event<'a>(_: c_ulong, freed: *mut c_void) -> Option<Self::Event<'a>> {
        // SAFETY: The chain passes a pointer to a sum that nobody else uses during the call.
        Some(unsafe { &mut *freed.cast() })
    }
}

/// Calls the function of `T`.
struct CallPurge<T>(PhantomData<fn() -> T>);

impl<T: Purge> Notifier for CallPurge<T> {
    type Chain = NoAddressSpace;

    fn notify(&self, freed: &mut c_ulong) -> Result {
        *freed += T::purge();
        Ok(())
    }
}
