// SPDX-License-Identifier: GPL-2.0

//! Scatter lists that an exporter hands to devices.
//!
//! The kernel crate's `scatterlist::SGTable` owns the memory that it lists and maps it for one
//! bound device for as long as it lives. An exporter needs the other way round: the buffer owns the
//! memory, and each attachment has a list of its own, mapped and unmapped when the importer says
//! so.
//!
//! C header: [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use crate::{
    abstractions::dma_device::raw,
    bindings as c,
    decisions::{
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    page::PAGE_SHIFT,
    prelude::*,
    types::Opaque, //
};

/// The most that one entry of a list can describe: its length is an `unsigned int`.
const MAX_ENTRY_PAGES: usize = (u32::MAX >> PAGE_SHIFT) as usize;

/// A direction of DMA, as C code gave it.
pub(crate) use bindings::dma_data_direction as Direction;

/// A scatter list over memory that somebody else owns.
///
/// # Invariants
///
/// `table` was filled by `sg_alloc_table()`. Where `pfns` is `None`, every entry describes pages;
/// else there is one entry, for those frames.
pub(crate) struct SgTable {
    table: Opaque<bindings::sg_table>,
    pfns: Option<Segment>,
    caching: Caching,
}

// SAFETY: A scatter list is bound to no thread.
unsafe impl Send for SgTable {}
// SAFETY: All changes need an exclusive reference.
unsafe impl Sync for SgTable {}

impl SgTable {
    /// Lists the segments of `memory`, in entries of at most `longest` bytes where it has pages.
    ///
    /// May sleep. Fails with `ENOMEM`, or with `EINVAL` where there are no segments or more than an
    /// `unsigned int` counts.
    pub(crate) fn new(memory: &impl Memory, longest: usize) -> Result<Self> {
        let most = match memory.backing() {
            Backing::Pages => (longest >> PAGE_SHIFT).clamp(1, MAX_ENTRY_PAGES),
            Backing::PfnOnly => MAX_ENTRY_PAGES,
        };
        let segments = memory.segments();
        let entries = segments.clone().flat_map(|s| s.parts(most)).count();
        let entries = u32::try_from(entries)?;
        let pfns = match memory.backing() {
            Backing::Pages => None,
            // Frames are mapped one by one, which is only done for one of them.
            Backing::PfnOnly if entries == 1 => segments.clone().next(),
            Backing::PfnOnly => return Err(EINVAL),
        };
        let table = Opaque::zeroed();
        // SAFETY: `table` is valid for writing. GFP_KERNEL may sleep, and so may this function.
        to_result(unsafe { bindings::sg_alloc_table(table.get(), entries, bindings::GFP_KERNEL) })?;
        // INVARIANT: The table was just allocated; each of its entries is filled below or, for
        // frames, when it is mapped.
        let this = Self {
            table,
            pfns,
            caching: memory.caching(),
        };
        if this.pfns.is_some() {
            return Ok(this);
        }

        // SAFETY: The table is initialised.
        let mut entry = unsafe { (*this.as_raw()).sgl };
        for segment in segments {
            for part in segment.parts(most) {
                // SAFETY: `entry` is one of the `entries` entries of the table: the loops run as
                // often as was counted above. The frames have a `struct page`, as the memory says.
                unsafe {
                    c::sg_set_page(entry, c::pfn_to_page(part.pfn), part.bytes() as u32);
                    entry = bindings::sg_next(entry);
                }
            }
        }
        Ok(this)
    }

    /// The C structure.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::sg_table {
        self.table.get()
    }

    fn attributes(&self) -> usize {
        match self.caching {
            Caching::Cached => 0,
            Caching::WriteCombined => c::DMA_ATTR_SKIP_CPU_SYNC,
        }
    }

    /// Maps the listed memory for `device`. The CPU's caches are left alone where it does not see
    /// the memory through them.
    ///
    /// May sleep. Fails as `dma_map_sgtable()` does, and with `EIO` where frames cannot be mapped.
    ///
    /// # Safety
    ///
    /// The memory must stay until [`SgTable::unmap`] was called with the same arguments, which must
    /// happen before the table is dropped or mapped again.
    pub(crate) unsafe fn map(&mut self, device: &Device, direction: Direction) -> Result {
        let (device, attributes) = (raw(device), self.attributes());
        let Some(pfns) = self.pfns else {
            // SAFETY: The table is valid by the type's invariant, and so is the device.
            return to_result(unsafe {
                bindings::dma_map_sgtable(device, self.as_raw(), direction, attributes)
            });
        };
        // SAFETY: The memory stays, as the caller promises; the device is valid.
        let address = unsafe {
            let base = pfns.address() as bindings::phys_addr_t;
            c::dma_map_resource(device, base, pfns.bytes(), direction, attributes)
        };
        // SAFETY: The address is what the mapping of this device gave.
        if unsafe { c::dma_mapping_error(device, address) } != 0 {
            return Err(EIO);
        }
        // SAFETY: The table has one entry, by the type's invariant. It has no page, only a device's
        // address.
        unsafe {
            c::sg_set_dma((*self.as_raw()).sgl, address, pfns.bytes() as u32);
            (*self.as_raw()).nents = 1;
        }
        Ok(())
    }

    /// Undoes [`SgTable::map`].
    ///
    /// # Safety
    ///
    /// The table must be mapped for this device in this direction.
    pub(crate) unsafe fn unmap(&mut self, device: &Device, direction: Direction) {
        let (device, attributes) = (raw(device), self.attributes());
        // SAFETY: The table is mapped for this device and direction, as the caller promises.
        unsafe {
            match self.pfns {
                None => bindings::dma_unmap_sgtable(device, self.as_raw(), direction, attributes),
                Some(pfns) => {
                    let address = bindings::sg_dma_address((*self.as_raw()).sgl);
                    c::dma_unmap_resource(device, address, pfns.bytes(), direction, attributes);
                }
            }
        }
    }

    /// Makes what the device wrote visible to the CPU.
    ///
    /// # Safety
    ///
    /// The table must list pages and be mapped for this device.
    pub(crate) unsafe fn sync_for_cpu(&mut self, device: &Device, direction: Direction) {
        // SAFETY: The table is mapped for this device, as the caller promises.
        unsafe { c::dma_sync_sgtable_for_cpu(raw(device), self.as_raw(), direction) };
    }

    /// Makes what the CPU wrote visible to the device.
    ///
    /// # Safety
    ///
    /// The table must list pages and be mapped for this device.
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

/// A scatter list that is mapped for a device, whoever mapped it.
///
/// # Invariants
///
/// `table` is valid and mapped for `'a`.
pub(crate) struct MappedTable<'a> {
    table: NonNull<bindings::sg_table>,
    _mapped: PhantomData<&'a ()>,
}

impl<'a> MappedTable<'a> {
    /// # Safety
    ///
    /// `table` must be valid and mapped for `'a`.
    pub(crate) unsafe fn from_raw(table: NonNull<bindings::sg_table>) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            table,
            _mapped: PhantomData,
        }
    }

    /// The device's addresses, and how many bytes there are at each.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        // SAFETY: The table is valid, by the type's invariant.
        let (mut entry, entries) = unsafe { (self.table.as_ref().sgl, self.table.as_ref().nents) };
        (0..entries).map_while(move |_| {
            if entry.is_null() {
                return None;
            }
            // SAFETY: One of the entries that are mapped, by the type's invariant.
            unsafe {
                let range = (
                    bindings::sg_dma_address(entry) as u64,
                    bindings::sg_dma_len(entry) as usize,
                );
                entry = bindings::sg_next(entry);
                Some(range)
            }
        })
    }
}
