// SPDX-License-Identifier: GPL-2.0

//! dma-bufs that their exporter has not released.

use super::{
    DmaBuf,
    Pinned, //
};
use crate::bindings as c;
use core::ptr::NonNull;

/// The dentry of a dma-buf, without a reference.
///
/// For the exporter of the dma-buf, who knows when it ends: the core calls the exporter's `release`
/// operation from that of the dentry, exactly once, and frees the dentry only after it has
/// returned. Nothing else ends a dma-buf, and nothing that observes events can make that call be
/// missed. The inode is of no use here, it is freed before.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     dma_buf::Unreleased,
///     exporter::{self, example::PageExporter},
/// };
/// use kernel::page::PAGE_SIZE;
///
/// let dma_buf = exporter::export(PageExporter::new(1), PAGE_SIZE, 0)?;
/// let unreleased = Unreleased::of(&dma_buf);
/// // SAFETY: The dma-buf has a reference, so it is not released.
/// let pinned = unsafe { unreleased.pin() }.ok_or(EINVAL)?;
/// assert_eq!(pinned.inode(), dma_buf.inode());
/// drop(dma_buf);
/// // SAFETY: As above.
/// assert!(unsafe { unreleased.pin() }.is_some());
/// ```
///
/// # Invariants
///
/// The dentry is that of a dma-buf's file, and is valid until the exporter returns from the
/// dma-buf's `release` operation.
pub(crate) struct Unreleased(NonNull<kernel::bindings::dentry>);

// SAFETY: The C side synchronises the number of references to the dentry. Its dma-buf is set before
// anybody learns of it.
unsafe impl Send for Unreleased {}
// SAFETY: As above.
unsafe impl Sync for Unreleased {}

impl Unreleased {
    /// Returns that of `dma_buf`.
    #[inline]
    pub(crate) fn of(dma_buf: &DmaBuf) -> Self {
        // SAFETY: By its type invariants the dma-buf and its file are valid. The file has a dentry.
        let dentry = unsafe { NonNull::new_unchecked(c::dma_buf_dentry(dma_buf.as_raw()).cast()) };
        // INVARIANT: The dentry of the file, which keeps it until its last reference is dropped.
        Self(dentry)
    }

    /// Acquires a reference to the dma-buf, or returns `None` if it is about to be released.
    ///
    /// May acquire the spin lock of the dentry. Does not sleep.
    ///
    /// # Safety
    ///
    /// The exporter must not return from the `release` operation of the dma-buf during the call, or
    /// have done so before.
    pub(crate) unsafe fn pin(&self) -> Option<Pinned> {
        // A count of 0 never rises again.
        // SAFETY: By the safety requirements and the type invariants the dentry is valid.
        unsafe {
            if !c::dentry_get(self.0.as_ptr().cast()) {
                return None;
            }
            // The reference was acquired above.
            Pinned::from_dentry(self.0)
        }
    }
}
