// SPDX-License-Identifier: GPL-2.0

//! Scatter lists that an exporter hands to devices.
//!
//! The kernel crate's `scatterlist::SGTable` owns the memory that it lists and maps it for one bound device for as long
//! as it lives. An exporter needs the other way round: the buffer owns the memory, and each attachment has a list of its
//! own, mapped and unmapped when the importer says so.
//!
//! C header: [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use crate::{
    bindings as c,
    memory::{Caching, Segment},
};
use kernel::{
    bindings, device::Device, error::to_result, page::PAGE_SHIFT, prelude::*, types::Opaque,
};

/// The most that one entry of a list can describe: its length is an `unsigned int`.
const MAX_ENTRY_PAGES: usize = (u32::MAX >> PAGE_SHIFT) as usize;

/// A direction of DMA, as C code gave it.
pub(crate) use bindings::dma_data_direction as Direction;

/// The C structure of a device.
fn raw(device: &Device) -> *mut bindings::device {
    // A `Device` is nothing but the C structure, and may be changed through a shared reference.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// The attributes of a mapping of memory that the CPU sees like this.
fn attributes(caching: Caching) -> usize {
    match caching {
        Caching::Cached => 0,
        Caching::WriteCombined => c::DMA_ATTR_SKIP_CPU_SYNC,
    }
}

/// A scatter list over memory that somebody else owns.
///
/// # Invariants
///
/// `table` was filled by `sg_alloc_table()`, and every entry describes pages.
pub(crate) struct SgTable {
    table: Opaque<bindings::sg_table>,
}

// SAFETY: A scatter list is bound to no thread.
unsafe impl Send for SgTable {}
// SAFETY: All changes need an exclusive reference.
unsafe impl Sync for SgTable {}

impl SgTable {
    /// Lists `segments`.
    ///
    /// May sleep. Fails with `ENOMEM`, or with `EINVAL` where there are no segments or more than an `unsigned int` counts.
    pub(crate) fn new(segments: impl Iterator<Item = Segment> + Clone) -> Result<Self> {
        let entries: usize = segments
            .clone()
            .map(|s| s.pages.div_ceil(MAX_ENTRY_PAGES))
            .sum();
        let entries = u32::try_from(entries)?;
        let table = Opaque::zeroed();
        // SAFETY: `table` is valid for writing. GFP_KERNEL may sleep, and so may this function.
        to_result(unsafe { bindings::sg_alloc_table(table.get(), entries, bindings::GFP_KERNEL) })?;
        // INVARIANT: The table was just allocated; each of its entries is filled below.
        let this = Self { table };

        // SAFETY: The table is initialised.
        let mut entry = unsafe { (*this.as_raw()).sgl };
        for segment in segments {
            let mut rest = Some(segment);
            while let Some(left) = rest {
                let part = left.truncate(MAX_ENTRY_PAGES);
                // SAFETY: `entry` is one of the `entries` entries of the table: the loops run as often as was counted
                // above. The segment's frames have a `struct page`, as all that memory is made of.
                unsafe {
                    c::sg_set_page(entry, c::pfn_to_page(part.frame), part.bytes() as u32);
                    entry = bindings::sg_next(entry);
                }
                rest = left.skip(part.pages);
            }
        }
        Ok(this)
    }

    /// The C structure.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::sg_table {
        self.table.get()
    }

    /// Maps the listed memory for `device`.
    ///
    /// May sleep. Fails as `dma_map_sgtable()` does. With [`Caching::WriteCombined`] the CPU's caches are left alone.
    ///
    /// # Safety
    ///
    /// The memory must stay until [`SgTable::unmap`] was called with the same arguments, which must happen before the
    /// table is dropped or mapped again.
    pub(crate) unsafe fn map(
        &mut self,
        device: &Device,
        direction: Direction,
        caching: Caching,
    ) -> Result {
        // SAFETY: The table is valid by the type's invariant, and so is the device.
        to_result(unsafe {
            bindings::dma_map_sgtable(raw(device), self.as_raw(), direction, attributes(caching))
        })
    }

    /// Undoes [`SgTable::map`].
    ///
    /// # Safety
    ///
    /// The table must be mapped for this device in this direction and with this caching.
    pub(crate) unsafe fn unmap(&mut self, device: &Device, direction: Direction, caching: Caching) {
        // SAFETY: The table is mapped for this device and direction, as the caller promises.
        unsafe {
            bindings::dma_unmap_sgtable(raw(device), self.as_raw(), direction, attributes(caching))
        };
    }

    /// Makes what the device wrote visible to the CPU.
    ///
    /// # Safety
    ///
    /// The table must be mapped for this device.
    pub(crate) unsafe fn sync_for_cpu(&mut self, device: &Device, direction: Direction) {
        // SAFETY: The table is mapped for this device, as the caller promises.
        unsafe { c::dma_sync_sgtable_for_cpu(raw(device), self.as_raw(), direction) };
    }

    /// Makes what the CPU wrote visible to the device.
    ///
    /// # Safety
    ///
    /// The table must be mapped for this device.
    pub(crate) unsafe fn sync_for_device(&mut self, device: &Device, direction: Direction) {
        // SAFETY: The table is mapped for this device, as the caller promises.
        unsafe { c::dma_sync_sgtable_for_device(raw(device), self.as_raw(), direction) };
    }
}

impl Drop for SgTable {
    fn drop(&mut self) {
        // SAFETY: The table was filled by `sg_alloc_table()`, by the type's invariant.
        unsafe { bindings::sg_free_table(self.as_raw()) };
    }
}
