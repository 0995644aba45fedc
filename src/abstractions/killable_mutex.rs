// SPDX-License-Identifier: GPL-2.0

//! Mutexes whose waiters can be killed.
//!
//! C header: [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use crate::bindings as c;
use core::pin::Pin;
use kernel::{
    bindings,
    ffi::c_char,
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Backend,
            Guard,
            Lock, //
        },
        LockClassKey, //
    }, //
};

/// A mutex that is not acquired if a fatal signal arrives first.
///
/// # Examples
///
/// ```
/// use crate::abstractions::killable_mutex::KillableMutex;
///
/// let mutex = KBox::pin_init(
///     KillableMutex::new(1, c"example", kernel::static_lock_class!()),
///     GFP_KERNEL,
/// )?;
/// *mutex.lock()? += 1;
/// assert_eq!(*mutex.lock()?, 2);
/// ```
#[pin_data]
pub(crate) struct KillableMutex<T> {
    #[pin]
    lock: Lock<T, KillableBackend>,
}

impl<T> KillableMutex<T> {
    /// Creates a mutex over `value`.
    pub(crate) fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self { lock <- Lock::new(value, name, key) })
    }

    /// Acquires the mutex. May sleep. Fails with `EINTR` on a fatal signal.
    pub(crate) fn lock(&self) -> Result<Guard<'_, T, KillableBackend>> {
        self.lock.try_lock().ok_or(EINTR)
    }
}

/// A `struct mutex` of which an attempt waits until it is acquired or a fatal signal arrives.
pub(crate) struct KillableBackend;

// SAFETY: The C side ensures mutual exclusion. `relock()` has its default implementation.
unsafe impl Backend for KillableBackend {
    type State = bindings::mutex;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The safety requirements are the same.
        unsafe { MutexBackend::init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The safety requirements are the same.
        unsafe { MutexBackend::lock(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: By the safety requirements the mutex is valid and initialized.
        let error = unsafe { c::mutex_lock_killable(ptr) };
        (error == 0).then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, guard_state: &()) {
        // SAFETY: The safety requirements are the same.
        unsafe { MutexBackend::unlock(ptr, guard_state) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The safety requirements are the same.
        unsafe { MutexBackend::assert_is_held(ptr) }
    }
}
