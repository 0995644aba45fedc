// SPDX-License-Identifier: GPL-2.0

//! Notification when the kernel finds no address space for a mapping by `vmap()` or `vmalloc()`.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::bindings as c;
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    types::Opaque, //
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
///
/// # Invariants
///
/// `block` is registered with the function of `T`.
#[must_use = "dropping this ends the notification"]
pub(crate) struct Purger<T: Purge> {
    block: KBox<Opaque<bindings::notifier_block>>,
    _purge: PhantomData<T>,
}

// SAFETY: Any thread may remove a notifier.
unsafe impl<T: Purge> Send for Purger<T> {}
// SAFETY: A shared reference gives no access to the block.
unsafe impl<T: Purge> Sync for Purger<T> {}

impl<T: Purge> Purger<T> {
    /// Registers the function of `T`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register() -> Result<Self> {
        let block = bindings::notifier_block {
            notifier_call: Some(notified::<T>),
            ..pin_init::zeroed()
        };
        let block = KBox::new(Opaque::new(block), GFP_KERNEL)?;
        // SAFETY: The block stays where it is until it is removed.
        to_result(unsafe { c::register_vmap_purge_notifier(block.get()) })?;
        // INVARIANT: Registered above.
        Ok(Self {
            block,
            _purge: PhantomData,
        })
    }
}

impl<T: Purge> Drop for Purger<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the block is registered. The call waits for running ones.
        unsafe { c::unregister_vmap_purge_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Must only be called by the chain of notifiers. `freed` must point to the kernel's sum.
unsafe extern "C" fn notified<T: Purge>(
    _: *mut bindings::notifier_block,
    _: c_ulong,
    freed: *mut c_void,
) -> c_int {
    let pages = T::purge();
    // SAFETY: By the safety requirements.
    unsafe { *freed.cast::<c_ulong>() += pages };
    bindings::NOTIFY_DONE as c_int
}
