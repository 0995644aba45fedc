// SPDX-License-Identifier: GPL-2.0

//! Attachments of a device of this module's own.

use super::DmaBuf;
use crate::{
    abstractions::sg_table::MappedTable,
    bindings as c, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    dma::DataDirection,
    error::from_err_ptr,
    prelude::*, //
};

/// A device that is attached to a dma-buf, and a mapping of the dma-buf for reading by the device.
///
/// Dropping it unmaps and detaches, and may sleep. The caller must not hold the reservation lock.
///
/// # Invariants
///
/// `attachment` is an attachment to `dma_buf` that this value owns. `table` is its mapping in the
/// direction `DMA_TO_DEVICE`, if it is mapped.
#[must_use]
pub(crate) struct MappedAttachment<'a> {
    dma_buf: &'a DmaBuf,
    attachment: NonNull<bindings::dma_buf_attachment>,
    table: Option<NonNull<bindings::sg_table>>,
}

impl<'a> MappedAttachment<'a> {
    /// Attaches `device` and maps the memory for it. The content of the memory is preserved: for a
    /// device that only reads, no cache is invalidated.
    ///
    /// May sleep, without being interruptible: another thread may acquire the reservation lock in
    /// between. Fails with `EBUSY` if the lock is held, or if the exporter is moving the memory,
    /// and as the exporter does.
    ///
    /// # Safety
    ///
    /// `device` must be valid for `'a` and have a DMA mask.
    pub(crate) unsafe fn new(dma_buf: &'a DmaBuf, device: *mut bindings::device) -> Result<Self> {
        // Attaching acquires the lock, which another thread may hold for long.
        drop(dma_buf.try_lock().ok_or(EBUSY)?);
        // SAFETY: The dma-buf is valid. By the safety requirements the device is valid.
        let attachment = from_err_ptr(unsafe { c::dma_buf_attach(dma_buf.as_raw(), device) })?;
        // INVARIANT: The device was attached above and is not mapped.
        let mut this = Self {
            dma_buf,
            attachment: NonNull::new(attachment).ok_or(ENOMEM)?,
            table: None,
        };
        let guard = dma_buf.try_lock().ok_or(EBUSY)?;
        if !guard.is_moved() {
            return Err(EBUSY);
        }
        // SAFETY: The attachment is valid, and the reservation lock is held.
        let table = from_err_ptr(unsafe {
            c::dma_buf_map_attachment(attachment, DataDirection::ToDevice.into())
        })?;
        drop(guard);
        // INVARIANT: The attachment was mapped above.
        this.table = NonNull::new(table);
        Ok(this)
    }

    /// Returns the scatter list with the device's addresses.
    pub(crate) fn table(&self) -> Option<MappedTable<'_>> {
        let table = self.table?;
        // SAFETY: By the type invariants the table is mapped as long as this value lives.
        Some(unsafe { MappedTable::from_raw(table) })
    }
}

impl Drop for MappedAttachment<'_> {
    fn drop(&mut self) {
        let raw = self.dma_buf.as_raw();
        // SAFETY: By the type invariants this value owns the attachment, and `table` is its mapping
        // in this direction.
        unsafe {
            if let Some(table) = self.table {
                c::dma_buf_unmap_attachment_unlocked(
                    self.attachment.as_ptr(),
                    table.as_ptr(),
                    DataDirection::ToDevice.into(),
                );
            }
            c::dma_buf_detach(raw, self.attachment.as_ptr());
        }
    }
}
