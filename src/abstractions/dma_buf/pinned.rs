// SPDX-License-Identifier: GPL-2.0

//! References that keep a dma-buf without its file.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    ActiveRef,
    UncountedDmaBuf, //
};
use crate::bindings as c;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::bindings;

/// A reference to the dentry of a dma-buf, which keeps the dma-buf and its memory.
///
/// The dma-buf is released synchronously if this is the last reference.
///
/// # Invariants
///
/// This value owns a reference to `dentry`, which has an inode. `dma_buf` is the dma-buf of the
/// dentry, which is released only when the dentry has no reference.
#[must_use]
pub(crate) struct Pinned {
    dentry: NonNull<bindings::dentry>,
    dma_buf: NonNull<bindings::dma_buf>,
}

// SAFETY: A reference to a dentry may be used and dropped by any thread.
unsafe impl Send for Pinned {}
// SAFETY: As above.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Takes over a reference to a dentry. Returns `None` if exporting its dma-buf has failed, and
    /// may sleep then.
    ///
    /// # Safety
    ///
    /// The caller must own a reference to `dentry`, which must be that of a dma-buf's file.
    pub(super) unsafe fn from_dentry(dentry: NonNull<bindings::dentry>) -> Option<Self> {
        // SAFETY: By the safety requirements the dentry is valid. The field is written before
        // anybody learns of the dma-buf.
        let dma_buf = unsafe { (*dentry.as_ptr()).d_fsdata };
        let Some(dma_buf) = NonNull::new(dma_buf.cast()) else {
            // SAFETY: By the safety requirements the caller owns a reference.
            unsafe { bindings::dput(dentry.as_ptr()) };
            return None;
        };
        // INVARIANT: By the safety requirements. The dentry of a dma-buf's file has its inode.
        Some(Self { dentry, dma_buf })
    }

    fn raw_inode(&self) -> *mut bindings::inode {
        // SAFETY: By the type invariants the dentry is valid. Its inode does not change while it
        // has a reference.
        unsafe { (*self.dentry.as_ptr()).d_inode }
    }

    /// Returns the inode number. Inode numbers of dma-bufs are not reused.
    pub(crate) fn inode(&self) -> u64 {
        // SAFETY: By the type invariants the dentry has an inode, which it keeps.
        unsafe { (*self.raw_inode()).i_ino }
    }

    /// Acquires a reference to the file, or returns `None` if it has no references left. Does not
    /// sleep.
    pub(crate) fn file(&self) -> Option<ActiveRef> {
        // SAFETY: By the type invariants this is the dma-buf of that inode, and stays valid.
        unsafe { ActiveRef::new(self.dma_buf, self.raw_inode()) }
    }

    /// Returns the number of references to the file: those of descriptors, mappings, attachments
    /// and other users. It is 0 if only paths refer to the dma-buf. Does not sleep.
    pub(crate) fn references(&self) -> usize {
        // SAFETY: By the type invariants the dma-buf is valid.
        unsafe { c::dma_buf_file_count(self.dma_buf.as_ptr()) as usize }
    }
}

impl Deref for Pinned {
    type Target = UncountedDmaBuf;

    fn deref(&self) -> &UncountedDmaBuf {
        // SAFETY: By the type invariants the dma-buf is valid as long as this value.
        unsafe { UncountedDmaBuf::from_raw(self.dma_buf.as_ptr()) }
    }
}

impl Drop for Pinned {
    /// May sleep. The caller must not hold a lock that an exporter acquires to release a dma-buf.
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference.
        unsafe { bindings::dput(self.dentry.as_ptr()) };
    }
}
