// SPDX-License-Identifier: GPL-2.0

//! Spin locks that never sleep, also with `PREEMPT_RT`.
//!
//! There the spin locks of the `kernel` crate are mutexes, which must not be acquired where
//! preemption is disabled: in a kprobe's handler, or in a function that the tracer calls. Without
//! `PREEMPT_RT` both are the same.
//!
//! The owner of a raw spin lock delays every task of its CPU, whatever its priority. So the work
//! under one must be bounded and short. With `PREEMPT_RT` memory must be neither allocated nor
//! freed under it, and only other raw spin locks may be acquired; lockdep reports the latter with
//! `PROVE_RAW_LOCK_NESTING`.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings as c;
use kernel::{
    bindings,
    ffi::c_char,
    sync::lock::{
        Backend,
        Lock, //
    }, //
};

/// Creates an initialiser of a [`RawSpinLock`] with a lock class of its own.
macro_rules! new_raw_spinlock {
    ($inner:expr) => {
        $crate::abstractions::raw_spin_lock::RawSpinLock::new(
            $inner,
            kernel::optional_name!(),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_raw_spinlock;

/// A lock that is acquired by `raw_spin_lock()`. Interrupts stay enabled, so interrupt handlers
/// must not acquire it.
///
/// # Examples
///
/// ```
/// use crate::abstractions::raw_spin_lock::new_raw_spinlock;
///
/// let lock = KBox::pin_init(new_raw_spinlock!(1), GFP_KERNEL)?;
/// let mut guard = lock.lock();
/// *guard += 1;
/// assert!(lock.try_lock().is_none());
/// drop(guard);
/// assert_eq!(*lock.lock(), 2);
/// ```
pub(crate) type RawSpinLock<T> = Lock<T, RawSpinLockBackend>;

/// A `raw_spinlock_t`.
pub(crate) struct RawSpinLockBackend;

// SAFETY: The C side ensures mutual exclusion. `relock()` has its default implementation.
unsafe impl Backend for RawSpinLockBackend {
    type State = bindings::raw_spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the safety requirements the lock may be written, and the name and the key are
        // valid forever.
        unsafe { c::raw_spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: By the safety requirements the lock is valid and initialized.
        unsafe { c::raw_spin_lock(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: As above.
        unsafe { c::raw_spin_trylock(ptr) }.then_some(())
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, (): &()) {
        // SAFETY: By the safety requirements the caller holds the lock.
        unsafe { c::raw_spin_unlock(ptr) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the safety requirements the lock is valid and initialized.
        unsafe { c::raw_spin_assert_is_held(ptr) }
    }
}
