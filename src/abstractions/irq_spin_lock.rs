// SPDX-License-Identifier: GPL-2.0

//! Spin locks that are held with the local interrupts disabled.
//!
//! The locks that the `kernel` crate of 7.2 has leave interrupts enabled. Callers of an exported
//! function may hold a lock that interrupt handlers acquire as well, so a lock that is acquired
//! there must not be interrupted by such a handler.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings as c;
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_ulong, //
    },
    sync::lock::{
        spinlock::SpinLockBackend,
        Backend, //
    }, //
};

/// A `spinlock_t` that is acquired by `spin_lock_irqsave()`.
pub(crate) struct IrqSpinLockBackend;

// SAFETY: The C side ensures mutual exclusion. `relock()` has its default implementation.
unsafe impl Backend for IrqSpinLockBackend {
    type State = bindings::spinlock_t;
    /// The interrupt state before the lock was acquired.
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The safety requirements are the same.
        unsafe { SpinLockBackend::init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> c_ulong {
        // SAFETY: By the safety requirements the lock is valid and initialized.
        unsafe { c::spin_lock_irqsave(ptr) }
    }

    unsafe fn try_lock(_ptr: *mut Self::State) -> Option<c_ulong> {
        // Nothing tries.
        None
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &c_ulong) {
        // SAFETY: By the safety requirements the caller holds the lock, and `flags` comes from
        // acquiring it.
        unsafe { c::spin_unlock_irqrestore(ptr, *flags) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The safety requirements are the same.
        unsafe { SpinLockBackend::assert_is_held(ptr) }
    }
}
