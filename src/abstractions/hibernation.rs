// SPDX-License-Identifier: GPL-2.0

//! Notification before memory is saved for hibernation, and after that.
//!
//! The kernel saves memory as a CPU reads it, through its caches.
//!
//! C header: [`include/linux/suspend.h`](srctree/include/linux/suspend.h)

use crate::{
    abstractions::kernel_symbol,
    bindings as c, //
};
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    types::Opaque, //
};

/// What is notified. The calls do not overlap.
pub(crate) trait Hibernation: 'static {
    /// Memory is about to be saved. Other tasks still run. May sleep. The machine does not
    /// hibernate if this fails, and then [`Hibernation::finished`] is not called.
    fn prepare() -> Result;

    /// Memory was saved, or it was not, or what was saved runs again, or an attempt to restore it
    /// was given up, or nothing is being saved when the functions are registered. May sleep.
    fn finished();
}

/// Neither hibernation nor suspend begins or ends until this is dropped.
struct NoTransition {
    /// What the kernel wants back.
    flags: c_uint,
}

impl NoTransition {
    /// Waits for the end of those that are in progress, except for hibernation by a program: its
    /// open `/dev/snapshot` keeps others out, without the kernel's lock. May sleep.
    fn wait() -> Self {
        // SAFETY: The function has no requirements. `drop()` undoes what it does.
        let flags = unsafe { c::lock_system_sleep() };
        Self { flags }
    }

    /// Returns whether a program has begun hibernation. It is taken not to have if the kernel has
    /// no kprobes, by which the function is found. May sleep.
    fn hibernates(&self) -> bool {
        let Some(address) = kernel_symbol::lookup(c"pm_sleep_transition_in_progress") else {
            return false;
        };
        // SAFETY: This is the address of the function, which has no requirements.
        unsafe {
            c::found_pm_sleep_transition_in_progress(address.as_ptr());
            c::pm_sleep_transition_in_progress()
        }
    }
}

impl Drop for NoTransition {
    fn drop(&mut self) {
        // SAFETY: The flags are those of the call in `wait()`.
        unsafe { c::unlock_system_sleep(self.flags) };
    }
}

/// The registration of a [`Hibernation`].
///
/// Dropping it waits for running calls.
///
/// # Examples
///
/// ```
/// use crate::abstractions::hibernation::{Hibernation, Notifier};
///
/// struct Ignored;
///
/// impl Hibernation for Ignored {
///     fn prepare() -> Result {
///         Ok(())
///     }
///
///     fn finished() {}
/// }
///
/// let notifier = Notifier::<Ignored>::register()?;
/// // The kernel calls neither function after this.
/// drop(notifier);
/// ```
///
/// # Invariants
///
/// `block` is registered with the functions of `T`.
#[must_use = "dropping this ends the notification"]
pub(crate) struct Notifier<T: Hibernation> {
    block: KBox<Opaque<bindings::notifier_block>>,
    _hibernation: PhantomData<T>,
}

// SAFETY: Any thread may remove a notifier.
unsafe impl<T: Hibernation> Send for Notifier<T> {}
// SAFETY: A shared reference gives no access to the block.
unsafe impl<T: Hibernation> Sync for Notifier<T> {}

impl<T: Hibernation> Notifier<T> {
    /// Registers the functions of `T`, and calls [`Hibernation::finished`], now or when hibernation
    /// that has begun without the former is over.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn register() -> Result<Self> {
        let block = bindings::notifier_block {
            notifier_call: Some(notified::<T>),
            ..pin_init::zeroed()
        };
        let block = KBox::new(Opaque::new(block), GFP_KERNEL)?;
        let no_transition = NoTransition::wait();
        // SAFETY: The block stays where it is until it is removed.
        to_result(unsafe { c::register_pm_notifier(block.get()) })?;
        if !no_transition.hibernates() {
            T::finished();
        }
        // INVARIANT: Registered above.
        Ok(Self {
            block,
            _hibernation: PhantomData,
        })
    }
}

impl<T: Hibernation> Drop for Notifier<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the block is registered. The call waits for running ones.
        unsafe { c::unregister_pm_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Must only be called by the chain of notifiers.
unsafe extern "C" fn notified<T: Hibernation>(
    _: *mut bindings::notifier_block,
    event: c_ulong,
    _: *mut c_void,
) -> c_int {
    let result = match event as u32 {
        bindings::PM_HIBERNATION_PREPARE => T::prepare(),
        // A program may have opened `/dev/snapshot` to restore memory, and the kernel does not tell
        // which of both is in progress.
        bindings::PM_POST_HIBERNATION | bindings::PM_POST_RESTORE => {
            T::finished();
            Ok(())
        }
        _ => Ok(()),
    };
    let error = result.err().map_or(0, Error::to_errno);
    // SAFETY: The function has no requirements.
    unsafe { c::notifier_from_errno(error) }
}
