// SPDX-License-Identifier: GPL-2.0

//! A directory in debugfs with a symbolic link.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use crate::bindings as c;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*, //
};

/// A directory in debugfs with one symbolic link. Dropping it removes both, and may sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::debugfs::Link;
///
/// // There is none if debugfs is disabled.
/// if let Some(link) = Link::new(c"rk_dma_heap_example", c"version", c"/proc/version") {
///     // The name is in use until the link is dropped.
///     assert!(Link::new(c"rk_dma_heap_example", c"version", c"/proc/version").is_none());
///     drop(link);
/// }
/// ```
///
/// # Invariants
///
/// `directory` was created by `debugfs_create_dir()` and is removed only when this is dropped.
#[must_use = "the link is removed when this is dropped"]
pub(crate) struct Link {
    directory: NonNull<bindings::dentry>,
}

// SAFETY: Any thread may remove the directory.
unsafe impl Send for Link {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for Link {}

impl Link {
    /// Creates the directory `directory` and in it the link `name` to the path `target`.
    ///
    /// May sleep. Returns `None` if debugfs is disabled, if the directory exists, or if there is
    /// no memory.
    pub(crate) fn new(directory: &CStr, name: &CStr, target: &CStr) -> Option<Self> {
        // SAFETY: The strings are copied.
        let directory = unsafe {
            c::debugfs_link(
                directory.as_char_ptr(),
                name.as_char_ptr(),
                target.as_char_ptr(),
            )
        };
        // INVARIANT: The call returns a new directory or null.
        NonNull::new(directory.cast()).map(|directory| Self { directory })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the directory exists. The call removes the link as well.
        unsafe { c::debugfs_remove(self.directory.as_ptr().cast()) };
    }
}
