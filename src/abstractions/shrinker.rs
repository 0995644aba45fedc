// SPDX-License-Identifier: GPL-2.0

//! Giving memory back when the kernel runs short of it.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};

/// Keeps memory that can be given back at any time.
pub(crate) trait Shrink: Send + Sync + 'static {
    /// How many pages could be given back now. Called in reclaim: must not sleep or allocate.
    fn count(&self) -> usize;

    /// Gives back at least `pages` pages if there are so many, and returns how many it were. Called
    /// in reclaim: must not sleep or allocate.
    fn scan(&self, pages: usize) -> usize;
}

/// Has the kernel call a [`Shrink`] until this is dropped.
///
/// # Examples
///
/// ```
/// use crate::abstractions::shrinker::{Shrink, Shrinker};
/// use kernel::sync::Arc;
///
/// struct Empty;
///
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
/// // The kernel does not call it any more after this.
/// drop(shrinker);
/// ```
///
/// # Invariants
///
/// `shrinker` is registered, and its private data is `owner`.
pub(crate) struct Shrinker<T: Shrink> {
    shrinker: NonNull<bindings::shrinker>,
    _owner: Arc<T>,
}

// SAFETY: Shrinkers may be registered and freed by different threads.
unsafe impl<T: Shrink> Send for Shrinker<T> {}
// SAFETY: Nothing can be done through a shared reference.
unsafe impl<T: Shrink> Sync for Shrinker<T> {}

impl<T: Shrink> Shrinker<T> {
    /// Registers `owner` under `name`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register(name: &CStr, owner: Arc<T>) -> Result<Self> {
        // SAFETY: The format takes one string.
        let shrinker =
            unsafe { bindings::shrinker_alloc(0, c"%s".as_char_ptr(), name.as_char_ptr()) };
        let shrinker = NonNull::new(shrinker).ok_or(ENOMEM)?;
        // SAFETY: The shrinker was just allocated and is not registered yet. Its functions expect
        // `owner`, which stays until it is freed.
        unsafe {
            (*shrinker.as_ptr()).count_objects = Some(count::<T>);
            (*shrinker.as_ptr()).scan_objects = Some(scan::<T>);
            (*shrinker.as_ptr()).private_data = Arc::as_ptr(&owner).cast_mut().cast();
            bindings::shrinker_register(shrinker.as_ptr());
        }
        // INVARIANT: Registered just now.
        Ok(Self {
            shrinker,
            _owner: owner,
        })
    }
}

impl<T: Shrink> Drop for Shrinker<T> {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant. Waits for calls under way.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// # Safety
///
/// For the kernel's reclaim: `shrinker` is that of a [`Shrinker<T>`].
unsafe extern "C" fn count<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    _: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data is the owner, which stays while it is registered.
    let pages = unsafe { &*(*shrinker).private_data.cast::<T>() }.count();
    if pages == 0 {
        bindings::SHRINK_EMPTY as c_ulong
    } else {
        pages
    }
}

/// # Safety
///
/// For the kernel's reclaim: `shrinker` is that of a [`Shrinker<T>`], `control` says how much is
/// asked for.
unsafe extern "C" fn scan<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data is the owner, which stays while it is registered; `control` is
    // valid.
    let freed = unsafe { (*(*shrinker).private_data.cast::<T>()).scan((*control).nr_to_scan) };
    if freed == 0 {
        bindings::SHRINK_STOP as c_ulong
    } else {
        freed
    }
}
