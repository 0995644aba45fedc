// SPDX-License-Identifier: GPL-2.0

//! Notification before the kernel kills a process because memory is exhausted.
//!
//! It does not if that frees pages. Cgroups that are at their limit are not announced.
//!
//! C header: [`include/linux/oom.h`](srctree/include/linux/oom.h)

use crate::bindings as c;
use core::{
    ffi::c_void,
    mem::offset_of, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
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
///
/// # Invariants
///
/// The block of `registered` is registered with the function of `T`.
#[must_use = "dropping this ends the notification"]
pub(crate) struct OomNotifier<T: LastResort> {
    registered: KBox<Registered<T>>,
}

/// What the kernel knows.
#[repr(C)]
struct Registered<T> {
    block: Opaque<bindings::notifier_block>,
    owner: Arc<T>,
}

// SAFETY: Any thread may remove a notifier, and `Arc<T>` is `Send`.
unsafe impl<T: LastResort> Send for OomNotifier<T> {}
// SAFETY: A shared reference gives no access to the fields.
unsafe impl<T: LastResort> Sync for OomNotifier<T> {}

impl<T: LastResort> OomNotifier<T> {
    /// Registers `owner`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register(owner: Arc<T>) -> Result<Self> {
        let block = bindings::notifier_block {
            notifier_call: Some(notified::<T>),
            ..pin_init::zeroed()
        };
        let registered = Registered {
            block: Opaque::new(block),
            owner,
        };
        let registered = KBox::new(registered, GFP_KERNEL)?;
        // SAFETY: The block stays where it is until it is removed.
        to_result(unsafe { c::register_oom_notifier(registered.block.get()) })?;
        // INVARIANT: Registered above.
        Ok(Self { registered })
    }
}

impl<T: LastResort> Drop for OomNotifier<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the block is registered. The call waits for running ones.
        unsafe { c::unregister_oom_notifier(self.registered.block.get()) };
    }
}

/// # Safety
///
/// Must only be called by the chain of notifiers, for the block of a [`Registered<T>`]. `freed`
/// must point to the kernel's sum.
unsafe extern "C" fn notified<T: LastResort>(
    block: *mut bindings::notifier_block,
    _: c_ulong,
    freed: *mut c_void,
) -> c_int {
    // SAFETY: By the safety requirements. It is valid until the block is removed.
    let registered = unsafe {
        &*block
            .byte_sub(offset_of!(Registered<T>, block))
            .cast::<Registered<T>>()
    };
    let pages = registered.owner.free();
    // SAFETY: By the safety requirements.
    unsafe { *freed.cast::<c_ulong>() += pages };
    bindings::NOTIFY_DONE as c_int
}
