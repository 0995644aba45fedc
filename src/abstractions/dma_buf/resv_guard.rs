// SPDX-License-Identifier: GPL-2.0

//! The reservation lock of a dma-buf, and what it protects.

use super::UncountedDmaBuf;
use kernel::{
    bindings,
    device::Device,
    types::NotThreadSafe, //
};

/// Guard of a dma-buf's reservation lock.
///
/// # Invariants
///
/// The current thread holds the reservation lock of `dma_buf`, and this value owns it.
#[must_use = "the lock is released immediately when the guard is unused"]
pub(crate) struct ResvGuard<'a> {
    pub(super) dma_buf: &'a UncountedDmaBuf,
    pub(super) _not_send: NotThreadSafe,
}

impl ResvGuard<'_> {
    /// Returns the dma-buf.
    pub(crate) fn dma_buf(&self) -> &UncountedDmaBuf {
        self.dma_buf
    }

    /// Returns whether the exporter has finished moving the memory. Mapping would wait for that
    /// with the lock held. Does not sleep.
    pub(crate) fn is_moved(&self) -> bool {
        // SAFETY: By the type invariants the dma-buf is valid and its lock is held.
        unsafe {
            bindings::dma_resv_test_signaled(
                (*self.dma_buf.as_raw()).resv,
                bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
            )
        }
    }

    /// Returns an iterator over the attachments, in the order of the dma-buf's list. They are valid
    /// while the lock is held.
    pub(crate) fn attachments(
        &self,
    ) -> impl Iterator<Item = *mut bindings::dma_buf_attachment> + '_ {
        // SAFETY: The dma-buf is valid.
        let head = unsafe { &raw mut (*self.dma_buf.as_raw()).attachments };
        // SAFETY: As above. By the type invariants the lock that protects the list is held.
        let mut node = unsafe { (*head).next };
        core::iter::from_fn(move || {
            if node == head {
                return None;
            }
            // SAFETY: Every node of this list other than its head is a field of an attachment. The
            // list does not change, as the lock is held.
            unsafe {
                let attachment = kernel::container_of!(node, bindings::dma_buf_attachment, node);
                node = (*node).next;
                Some(attachment)
            }
        })
    }

    /// Returns an iterator over the attached devices, in the order of the dma-buf's list.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Device> + '_ {
        self.attachments().map(|attachment| {
            // SAFETY: The attachment is valid while the lock is held. A device is valid while it is
            // attached.
            unsafe { Device::from_raw((*attachment).dev) }
        })
    }
}

impl Drop for ResvGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the current thread holds the lock, and this value owns it.
        unsafe { bindings::dma_resv_unlock((*self.dma_buf.as_raw()).resv) };
    }
}
