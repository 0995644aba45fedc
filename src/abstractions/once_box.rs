// SPDX-License-Identifier: GPL-2.0

//! Boxes that are allocated when they are first needed.
//!
//! `SetOnce` of the `kernel` crate stores its value in place, and a caller that loses the race for
//! it cannot wait for the winner's value.

use crate::abstractions::sized_kmalloc::SizedBox;
use core::{
    marker::PhantomData,
    pin::Pin,
    ptr, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// A pinned box that is empty until its first use, in the space of a pointer.
///
/// # Examples
///
/// ```
/// use crate::abstractions::once_box::OnceBox;
/// use kernel::{new_mutex, sync::Mutex};
///
/// let once = OnceBox::<Mutex<u32>>::new();
/// assert!(once.get().is_none());
/// *once.get_or_init(new_mutex!(7))?.lock() += 1;
/// // There is a value, so the initializer is not used.
/// assert_eq!(*once.get_or_init(new_mutex!(0))?.lock(), 8);
/// assert_eq!(once.get().map(|value| *value.lock()), Some(8));
/// ```
///
/// # Invariants
///
/// `pointer` is null or was returned by [`SizedBox::into_raw`] for a pinned value that this type
/// owns. It never changes once it is not null.
pub(crate) struct OnceBox<T> {
    pointer: Atomic<*mut T>,
    _owns: PhantomData<SizedBox<T>>,
}

impl<T: Send + Sync> OnceBox<T> {
    /// Creates an empty box.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            pointer: Atomic::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// Returns the value, if there is one. Does not sleep.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: By the type invariants the pointer is null or points to a value that lives as
        // long as `self`. The load is ordered after the value's initialization.
        unsafe { self.pointer.load(Acquire).as_ref() }
    }

    /// Returns the value, after initializing it by `init` if there is none.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn get_or_init(&self, init: impl PinInit<T>) -> Result<&T> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let new = SizedBox::pin_init(init, GFP_KERNEL)?;
        // SAFETY: The value is not moved out of the box.
        let new = SizedBox::into_raw(unsafe { Pin::into_inner_unchecked(new) });
        // INVARIANT: If the pointer was null, this type owns the new value from now on.
        if self.pointer.cmpxchg(ptr::null_mut(), new, Full).is_err() {
            // SAFETY: The box was converted above. Nothing else knows its value.
            drop(unsafe { SizedBox::from_raw(new) });
        }
        // This value, or that of another caller. A failed exchange is not ordered, this load is.
        self.get().ok_or(ENOMEM)
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        let pointer = self.pointer.load(Relaxed);
        if !pointer.is_null() {
            // SAFETY: By the type invariants the pointer is that of a box that this type owns. An
            // exclusive reference to `self` is ordered after every use of it.
            drop(unsafe { SizedBox::from_raw(pointer) });
        }
    }
}
