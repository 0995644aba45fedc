// SPDX-License-Identifier: GPL-2.0

//! Statics that are initialised in place when the module is loaded.
//!
//! `kernel::sync::global_lock!` does so for a single lock. A [`StaticCell`] holds any pinned value,
//! such as an array of locks.

use super::version;
use core::pin::Pin;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// The space of a static value.
///
/// # Examples
///
/// ```
/// use crate::abstractions::static_cell::StaticCell;
/// use kernel::{new_spinlock, sync::SpinLock};
///
/// // SAFETY: The first thing that the example does with it is to initialise it.
/// static COUNTERS: StaticCell<[SpinLock<u32>; 2]> = unsafe { StaticCell::uninit() };
///
/// let init = pin_init::pin_init_array_from_fn(|index| new_spinlock!(index as u32));
/// // SAFETY: This is the only call.
/// unsafe { COUNTERS.init(init) };
/// let [first, second] = COUNTERS.get().get_ref();
/// *first.lock() += 1;
/// for counter in [first, second] {
///     assert_eq!(*counter.lock(), 1);
/// }
/// ```
///
/// # Invariants
///
/// The value is initialised before [`StaticCell::get`] is called. It is pinned and never dropped.
#[repr(transparent)]
pub(crate) struct StaticCell<T>(Opaque<T>);

// SAFETY: After its initialisation the value is only accessed through shared references.
unsafe impl<T: Send + Sync> Sync for StaticCell<T> {}

impl<T> StaticCell<T> {
    /// Creates the space of a value.
    ///
    /// # Safety
    ///
    /// [`StaticCell::init`] must be called before [`StaticCell::get`].
    pub(crate) const unsafe fn uninit() -> Self {
        // INVARIANT: By the safety requirements.
        Self(Opaque::uninit())
    }

    /// Initialises the value.
    ///
    /// # Safety
    ///
    /// Must be called once.
    pub(crate) unsafe fn init(&'static self, init: impl PinInit<T>) {
        // SAFETY: The space is valid for writes and does not move, as it is static. By the safety
        // requirements nobody else accesses it.
        unsafe { version::raw_init(self.0.get(), init) };
    }

    /// Returns the value.
    #[inline]
    pub(crate) fn get(&'static self) -> Pin<&'static T> {
        // SAFETY: By the type invariants the value is initialised, and it is neither moved nor
        // dropped.
        unsafe { Pin::new_unchecked(&*self.0.get()) }
    }
}
