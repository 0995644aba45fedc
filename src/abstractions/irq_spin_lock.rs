// SPDX-License-Identifier: GPL-2.0

//! Spin locks that are held with the local interrupts disabled.
//!
//! The locks of the `kernel` crate leave interrupts enabled. Callers of an exported function may
//! hold a lock that interrupt handlers acquire as well, so a lock that is acquired there must not
//! be interrupted by such a handler.
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

/// Defines a static with an [`IrqSpinLockBackend`], as `kernel::sync::global_lock!` does with the
/// locks of the `kernel` crate.
macro_rules! global_irq_lock {
    {
        $(#[$meta:meta])*
        unsafe(uninit) static $name:ident: IrqSpinLock<$value_type:ty> = $value:expr;
    } => {
        #[allow(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "named like the static"
        )]
        enum $name {}

        impl kernel::sync::lock::GlobalLockBackend for $name {
            const NAME: &'static kernel::str::CStr = kernel::c_str!(::core::stringify!($name));
            type Item = $value_type;
            type Backend = $crate::abstractions::irq_spin_lock::IrqSpinLockBackend;

            fn get_lock_class() -> ::core::pin::Pin<&'static kernel::sync::LockClassKey> {
                kernel::static_lock_class!()
            }
        }

        $(#[$meta])*
        static $name: kernel::sync::lock::GlobalLock<$name> = {
            let value: $value_type = $value;
            // SAFETY: The user of this macro promises to initialize the lock before its first use.
            // The type is that of this static only.
            unsafe { kernel::sync::lock::GlobalLock::new(value) }
        };
    };
}
pub(crate) use global_irq_lock;
