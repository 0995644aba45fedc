// SPDX-License-Identifier: GPL-2.0

//! Shrinkers, which free cached memory in reclaim.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};

/// A cache of pages that can be freed at any time.
#[vtable]
pub(crate) trait Shrink: Send + Sync + 'static {
    /// Returns the number of pages that can be freed. Called in reclaim context: must not sleep or
    /// allocate memory.
    fn count(&self) -> usize;

    /// Frees at least `pages` pages, or all if there are fewer, and returns the number of freed
    /// pages. Called in reclaim context: must not sleep or allocate memory.
    fn scan(&self, pages: usize) -> usize;
}

/// The registration of a [`Shrink`].
///
/// Dropping it waits for running calls and unregisters the shrinker.
///
/// # Examples
///
/// ```
/// use crate::abstractions::shrinker::{Shrink, Shrinker};
/// use kernel::sync::Arc;
///
/// struct Empty;
///
/// #[vtable]
/// impl Shrink for Empty {
///     fn count(&self) -> usize {
///         0
///     }
///
///     fn scan(&self, _pages: usize) -> usize {
///         0
///     }
/// }
///
/// let shrinker = Shrinker::register(c"example", Arc::new(Empty, GFP_KERNEL)?)?;
/// // The kernel calls neither function after this.
/// drop(shrinker);
/// ```
///
/// # Invariants
///
/// `shrinker` is registered with the functions for `T`. Its private data points to `owner`.
#[must_use = "the shrinker is unregistered when this is dropped"]
pub(crate) struct Shrinker<T: Shrink> {
    shrinker: NonNull<bindings::shrinker>,
    _owner: Arc<T>,
}

// SAFETY: Any thread may unregister a shrinker, and `Arc<T>` is `Send`.
unsafe impl<T: Shrink> Send for Shrinker<T> {}
// SAFETY: A shared reference gives no access to the fields.
unsafe impl<T: Shrink> Sync for Shrinker<T> {}

impl<T: Shrink> Shrinker<T> {
    /// Registers `owner` as a shrinker with the name `name`.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn register(name: &CStr, owner: Arc<T>) -> Result<Self> {
        // SAFETY: The format has one string argument.
        let shrinker =
            unsafe { bindings::shrinker_alloc(0, c"%s".as_char_ptr(), name.as_char_ptr()) };
        let shrinker = NonNull::new(shrinker).ok_or(ENOMEM)?;
        // SAFETY: The shrinker is new and not registered yet. Its functions expect a `T` as private
        // data, and `owner` is valid until the shrinker is freed.
        unsafe {
            (*shrinker.as_ptr()).count_objects = Some(count::<T>);
            (*shrinker.as_ptr()).scan_objects = Some(scan::<T>);
            (*shrinker.as_ptr()).private_data = Arc::as_ptr(&owner).cast_mut().cast();
            bindings::shrinker_register(shrinker.as_ptr());
        }
        // INVARIANT: The shrinker was registered above with `owner` as its private data.
        Ok(Self {
            shrinker,
            _owner: owner,
        })
    }
}

impl<T: Shrink> Drop for Shrinker<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the shrinker is registered. The call waits for running
        // calls of its functions.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// # Safety
///
/// `shrinker` must be that of a [`Shrinker<T>`].
unsafe extern "C" fn count<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    _: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data points to a `T` that is valid while the shrinker is registered.
    let pages = unsafe { &*(*shrinker).private_data.cast::<T>() }.count();
    if pages == 0 {
        bindings::SHRINK_EMPTY as c_ulong
    } else {
        pages
    }
}

/// # Safety
///
/// `shrinker` must be that of a [`Shrinker<T>`], and `control` must be valid.
unsafe extern "C" fn scan<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data points to a `T` that is valid while the shrinker is registered.
    // `control` is valid by the safety requirements.
    let freed = unsafe { (*(*shrinker).private_data.cast::<T>()).scan((*control).nr_to_scan) };
    if freed == 0 {
        bindings::SHRINK_STOP as c_ulong
    } else {
        freed
    }
}
