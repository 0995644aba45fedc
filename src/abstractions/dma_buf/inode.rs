// SPDX-License-Identifier: GPL-2.0

//! References to the inodes of dma-bufs, which keep no memory of a dma-buf.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::Pinned;
use crate::bindings as c;
use core::ptr::NonNull;
use kernel::bindings;

/// A reference to the inode of a dma-buf.
///
/// The dma-buf is freed independently of it, and may then still be asked for: the inode has a
/// dentry as long as its dma-buf exists, and none afterwards.
///
/// # Examples
///
/// ```
/// use crate::abstractions::exporter::{self, example::PageExporter};
/// use kernel::page::PAGE_SIZE;
///
/// let dma_buf = exporter::export(PageExporter::new(2), 2 * PAGE_SIZE, 0)?;
/// let inode = dma_buf.inode_ref();
/// assert!(inode.has_dma_buf());
/// let other = inode.clone();
/// let pinned = other.dma_buf().ok_or(EINVAL)?;
/// assert_eq!(pinned.inode(), dma_buf.inode());
/// assert_eq!(pinned.references(), 1);
///
/// // The dentry keeps the dma-buf without its file.
/// let file = pinned.file().ok_or(EINVAL)?;
/// drop(dma_buf);
/// assert_eq!(pinned.references(), 1);
/// drop(file);
/// assert_eq!(pinned.references(), 0);
/// assert!(pinned.file().is_none());
/// assert_eq!(pinned.size(), 2 * PAGE_SIZE);
/// assert!(inode.has_dma_buf());
///
/// drop(pinned);
/// assert!(!inode.has_dma_buf());
/// assert!(inode.dma_buf().is_none());
/// ```
///
/// # Invariants
///
/// This value owns a reference to `inode`, which was created for a dma-buf. Only dentries whose
/// `d_fsdata` is that dma-buf refer to the inode.
pub(crate) struct Inode(NonNull<bindings::inode>);

// SAFETY: A reference to an inode may be used and dropped by any thread. The C side does the
// locking.
unsafe impl Send for Inode {}
// SAFETY: As above.
unsafe impl Sync for Inode {}

impl Inode {
    /// Acquires a reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// `raw` must be the inode of a dma-buf, and must have a reference during the call.
    pub(super) unsafe fn from_raw(raw: *mut bindings::inode) -> Self {
        // SAFETY: By the safety requirements the inode has a reference, so it is valid and not
        // null.
        unsafe {
            bindings::ihold(raw);
            // INVARIANT: The reference was acquired above. The core gives each dma-buf an inode of
            // its own with one dentry.
            Self(NonNull::new_unchecked(raw))
        }
    }

    /// Returns whether the dma-buf exists. Once it does not, it never will. Does not sleep.
    pub(crate) fn has_dma_buf(&self) -> bool {
        // SAFETY: By the type invariants the inode is valid.
        unsafe { c::inode_has_dentry(self.0.as_ptr()) }
    }

    /// Acquires a reference to the dma-buf, or returns `None` if it is being freed or does not
    /// exist any more.
    ///
    /// Acquires the spin locks of the inode and of its dentry, so the caller must hold no raw spin
    /// lock. Does not sleep otherwise.
    pub(crate) fn dma_buf(&self) -> Option<Pinned> {
        // The dentry of a dma-buf is freed without a grace period. A count of 0 never rises again,
        // and the dentry leaves the inode under the inode's lock before it is freed.
        // SAFETY: By the type invariants the inode is valid.
        let dentry = NonNull::new(unsafe { c::inode_dentry(self.0.as_ptr().cast()) }.cast())?;
        // SAFETY: The call returns a new reference to a dentry of the inode, which by the type
        // invariants is that of a dma-buf.
        unsafe { Pinned::from_dentry(dentry) }
    }
}

impl Clone for Inode {
    /// Does not sleep.
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants this is the inode of a dma-buf, and this value owns a
        // reference.
        unsafe { Self::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for Inode {
    /// May sleep.
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference.
        unsafe { bindings::iput(self.0.as_ptr()) };
    }
}
