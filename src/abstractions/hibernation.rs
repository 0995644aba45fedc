// SPDX-License-Identifier: GPL-2.0

//! Notification before memory is saved for hibernation, and after that.
//!
//! The kernel saves memory as a CPU reads it, through its caches.
//!
//! C header: [`include/linux/suspend.h`](srctree/include/linux/suspend.h)

use crate::{
    abstractions::{
        kernel_symbol,
        notifier::{
            self,
            Chain,
            Registration, //
        }, //
    },
    bindings as c, //
};
use core::ffi::c_void;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    sync::Arc, //
};

/// What is notified. The calls do not overlap.
pub(crate) trait Hibernation: Send + Sync + 'static {
    /// Memory is about to be saved. Other tasks still run. May sleep. The machine does not
    /// hibernate if this fails, and then [`Hibernation::finished`] is not called.
    fn prepare(&self) -> Result;

    /// Memory was saved, or it was not, or what was saved runs again, or an attempt to restore it
    /// was given up, or nothing is being saved when the functions are registered. May sleep.
    fn finished(&self);
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
/// use kernel::sync::Arc;
///
/// struct Ignored;
///
/// impl Hibernation for Ignored {
///     fn prepare(&self) -> Result {
///         Ok(())
///     }
///
///     fn finished(&self) {}
/// }
///
/// let notifier = Notifier::register(Arc::new(Ignored, GFP_KERNEL)?)?;
/// // The kernel calls neither function after this.
/// drop(notifier);
/// ```
#[must_use = "dropping this ends the notification"]
pub(crate) struct Notifier<T: Hibernation>(
    #[allow(dead_code)] Pin<KBox<Registration<CallHibernation<T>>>>, //
);

impl<T: Hibernation> Notifier<T> {
    /// Registers `owner`, and calls [`Hibernation::finished`], now or when hibernation that has
    /// begun without the former is over.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn register(owner: Arc<T>) -> Result<Self> {
        let place = KBox::new_uninit(GFP_KERNEL)?;
        let no_transition = NoTransition::wait();
        let registration = Registration::new(CallHibernation(owner.clone()));
        let registration = place.write_pin_init(registration)?;
        if !no_transition.hibernates() {
            owner.finished();
        }
        Ok(Self(registration))
    }
}

/// What a [`Hibernation`] is told.
enum Event {
    Prepare,
    Finished,
}

/// The chain that the kernel calls before and after hibernation and suspend.
struct PowerManagement;

// SAFETY: These are the functions of one chain. A semaphore is held during each call, and to remove
// a block.
unsafe impl Chain for PowerManagement {
    type Event<'a> = Event;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { c::register_pm_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirements.
        unsafe { c::unregister_pm_notifier(block) };
    }

    unsafe fn event<'a>(action: c_ulong, _: *mut c_void) -> Option<Self::Event<'a>> {
        match action as u32 {
            bindings::PM_HIBERNATION_PREPARE => Some(Event::Prepare),
            // A program may have opened `/dev/snapshot` to restore memory, and the kernel does not
            // tell which of both is in progress.
            bindings::PM_POST_HIBERNATION | bindings::PM_POST_RESTORE => Some(Event::Finished),
            _ => None,
        }
    }
}

/// Calls the functions of `T`.
struct CallHibernation<T>(Arc<T>);

impl<T: Hibernation> notifier::Notifier for CallHibernation<T> {
    type Chain = PowerManagement;

    fn notify(&self, event: Event) -> Result {
        match event {
            Event::Prepare => self.0.prepare(),
            Event::Finished => {
                self.0.finished();
                Ok(())
            }
        }
    }
}
