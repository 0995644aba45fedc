// SPDX-License-Identifier: GPL-2.0

//! Statics with a lock of this module's own.
//!
//! `kernel::sync::global_lock!` knows only the locks of the `kernel` crate.

/// Defines a static with a lock that has the given [`Backend`](kernel::sync::lock::Backend), as
/// `kernel::sync::global_lock!` does with the locks of the `kernel` crate.
macro_rules! global_lock {
    {
        $(#[$meta:meta])*
        unsafe(uninit) static $name:ident: Lock<$value_type:ty, $backend:ty> = $value:expr;
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
            type Backend = $backend;

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
pub(crate) use global_lock;
