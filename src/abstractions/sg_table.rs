// SPDX-License-Identifier: GPL-2.0

//! Scatter lists that an exporter maps for importers.
//!
//! `scatterlist::SGTable` of the `kernel` crate owns the memory that it lists, and it is mapped for
//! one bound device during its whole lifetime. Here the buffer owns the memory, and each attachment
//! has its own list, which is mapped and unmapped on request of the importer.
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

/// The maximum number of pages per entry, whose length in bytes is an `unsigned int`.
const MAX_ENTRY_PAGES: usize = (u32::MAX >> PAGE_SHIFT) as usize;

/// A direction of DMA as C code passes it.
pub(crate) use bindings::dma_data_direction as Direction;

/// The cache maintenance when a scatter list is mapped or unmapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maintenance {
    /// That of the DMA interface. Write-combined memory has none.
    Usual,
    /// None.
    Skipped,
}

/// A scatter list of memory that it does not own.
///
/// A single entry, as contiguous memory has, is part of this value instead of an allocation.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
/// use crate::abstractions::sg_table::SgTable;
/// use crate::decisions::memory::{Caching, Memory};
/// use crate::decisions::segment::Segment;
/// use kernel::page::PAGE_SIZE;
///
/// struct Run(PageRun);
///
/// // SAFETY: The run owns its pages, which are zeroed and need no preparation for cached access.
/// unsafe impl Memory for Run {
///     type Segments<'a> = core::option::IntoIter<Segment>;
///
///     fn segments(&self) -> Self::Segments<'_> {
///         Some(self.0.segment()).into_iter()
///     }
///
///     fn pages(&self) -> usize {
///         self.0.pages()
///     }
///
///     fn caching(&self) -> Caching {
///         Caching::Cached
///     }
/// }
///
/// let run = Run(PageRun::allocate(2, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
/// let table = KBox::try_init(SgTable::new(&run, 2 * PAGE_SIZE)?, GFP_KERNEL)?;
/// // SAFETY: The table is valid while it is borrowed.
/// assert_eq!(unsafe { (*table.as_raw()).nents }, 2);
/// ```
///
/// # Invariants
///
/// - If `table` has one entry, that is `single`, to which `table` points while it is mapped: until
///   then this value may move. Otherwise `table` was initialised by `sg_alloc_table()`.
/// - If `pfns` is `None`, each entry describes pages. Otherwise there is one entry, which describes
///   these page frames once it is mapped.
pub(crate) struct SgTable {
    table: Opaque<bindings::sg_table>,
    single: Opaque<bindings::scatterlist>,
    pfns: Option<Segment>,
    caching: Caching,
}

// SAFETY: Any thread may use and free a scatter list.
unsafe impl Send for SgTable {}
// SAFETY: The methods change the table through an exclusive reference only. Cache maintenance only
// reads it.
unsafe impl Sync for SgTable {}

impl SgTable {
    /// Returns an initializer of a list of the segments of `memory`.
    ///
    /// An entry has at most `max_entry_bytes` bytes if the memory has pages.
    ///
    /// May sleep. Fails with `ENOMEM`. Fails with `EINVAL` if there are no segments, or if the
    /// number of entries exceeds an `unsigned int`.
    pub(crate) fn new<'a>(
        memory: &'a impl Memory,
        max_entry_bytes: usize,
    ) -> Result<impl Init<Self, Error> + 'a> {
        let max_entry_pages = match memory.backing() {
            Backing::Pages => (max_entry_bytes >> PAGE_SHIFT).clamp(1, MAX_ENTRY_PAGES),
            Backing::PfnOnly => MAX_ENTRY_PAGES,
        };
        let entries = u32::try_from(memory.chunks(max_entry_pages))?;
        let pfns = match memory.backing() {
            Backing::Pages => None,
            // `dma_map_phys()` maps one range per call, so only one entry is supported.
            Backing::PfnOnly if entries == 1 => memory.segments().next(),
            Backing::PfnOnly => return Err(EINVAL),
        };
        // INVARIANT: `allocate()` initialises a table of several entries, and `fill()` one of a
        // single entry and the pages of each entry. A table of page frames has one entry, as
        // checked above.
        let this = try_init!(Self {
            table: Self::allocate(entries)?,
            single: Opaque::zeroed(),
            pfns,
            caching: memory.caching(),
        }? Error);
        Ok(this.chain(move |this| {
            // SAFETY: `entries` is the number of chunks.
            unsafe { this.fill(memory, max_entry_pages) };
            Ok(())
        }))
    }

    /// Creates a table of so many entries that describe nothing. A single one has no memory. May
    /// sleep. Fails as [`SgTable::new`] does.
    fn allocate(entries: u32) -> Result<Opaque<bindings::sg_table>> {
        if entries == 1 {
            return Ok(Opaque::new(bindings::sg_table {
                nents: 1,
                orig_nents: 1,
                ..pin_init::zeroed()
            }));
        }
        let table = Opaque::zeroed();
        // The list of a large buffer of single pages is large itself. It must not trigger the OOM
        // killer.
        let gfp = bindings::GFP_KERNEL | c::GFP_RETRY_MAYFAIL | c::GFP_NOWARN;
        // SAFETY: `table` is valid for writing. The caller may sleep, so these flags are allowed.
        to_result(unsafe { bindings::sg_alloc_table(table.get(), entries, gfp) })?;
        Ok(table)
    }

    /// Describes the pages of `memory`. Page frames are described when they are mapped.
    ///
    /// # Safety
    ///
    /// The memory must have as many chunks of `max_entry_pages` as the table has entries, which
    /// must describe nothing.
    unsafe fn fill(&mut self, memory: &impl Memory, max_entry_pages: usize) {
        let mut entry = self.single.get();
        // SAFETY: The table and its single entry are valid for writing, and have no other user.
        unsafe {
            if self.is_single() {
                c::sg_init_single(entry);
            } else {
                entry = (*self.as_raw()).sgl;
            }
        }
        if self.pfns.is_some() {
            return;
        }
        for segment in memory.segments() {
            for chunk in segment.chunks(max_entry_pages) {
                // SAFETY: By the safety requirements `entry` is one of the entries of the table.
                // The memory has pages, so each page frame has a `struct page`.
                unsafe {
                    c::sg_set_pfn(entry, chunk.pfn, chunk.bytes() as u32);
                    entry = bindings::sg_next(entry);
                }
            }
        }
    }

    /// Returns the C structure. Its entries are valid while it is mapped.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::sg_table {
        self.table.get()
    }

    /// Returns whether the table has one entry, which is `single`.
    #[inline]
    fn is_single(&self) -> bool {
        // SAFETY: By the type invariants the table is initialised. The number never changes.
        unsafe { (*self.as_raw()).orig_nents == 1 }
    }

    /// Returns the DMA attributes for mapping and unmapping.
    fn attributes(&self, maintenance: Maintenance) -> usize {
        match (self.caching, maintenance) {
            (Caching::Cached, Maintenance::Usual) => 0,
            _ => c::DMA_ATTR_SKIP_CPU_SYNC,
        }
    }

    /// Maps the memory for `device` with this cache maintenance.
    ///
    /// Page frames without a `struct page` are mapped as memory too, not as a device's registers:
    /// an IOMMU gives them the memory type of the device's other buffers, and the translation of a
    /// bus (`dma-ranges`) applies.
    ///
    /// May sleep. Fails as `dma_map_sgtable()` does, and with `EIO` if page frames without a
    /// `struct page` cannot be mapped.
    ///
    /// # Safety
    ///
    /// - The table must not be mapped. After success, the caller must call [`SgTable::unmap`] with
    ///   the same device and direction before the table is dropped or moved or the memory is freed.
    /// - If the memory is write-combined, or has no `struct page`, the device must access it itself
    ///   ([`dma_device::bounces`]). A bounce buffer is copied through the kernel's linear map,
    ///   which is stale for the former and does not contain the latter.
    /// - The same applies if maintenance is skipped: a bounce buffer would not be copied.
    ///
    /// [`dma_device::bounces`]: crate::abstractions::dma_device::bounces
    pub(crate) unsafe fn map(
        &mut self,
        device: &Device,
        direction: Direction,
        maintenance: Maintenance,
    ) -> Result {
        let (device, attributes) = (raw(device), self.attributes(maintenance));
        if self.is_single() {
            // INVARIANT: The table points to its entry while it is mapped. By the safety
            // requirements it does not move then.
            // SAFETY: The table is not mapped, so nothing else accesses it.
            unsafe { (*self.as_raw()).sgl = self.single.get() };
        }
        let Some(pfns) = self.pfns else {
            // SAFETY: By the type invariant each entry describes pages. The device is valid, and
            // the memory stays allocated by the safety requirements.
            return to_result(unsafe {
                bindings::dma_map_sgtable(device, self.as_raw(), direction, attributes)
            });
        };
        // SAFETY: The device is valid. By the safety requirements the memory stays allocated, and
        // no bounce buffer is used, so nothing accesses a `struct page` or the linear map.
        let address = unsafe {
            let base = pfns.address() as bindings::phys_addr_t;
            c::dma_map_phys(device, base, pfns.bytes(), direction, attributes)
        };
        // SAFETY: `dma_map_phys()` returned the address for this device.
        if unsafe { c::dma_mapping_error(device, address) } != 0 {
            return Err(EIO);
        }
        // SAFETY: By the type invariant the table has one entry. Its DMA address may be set, as the
        // table is not mapped.
        unsafe {
            c::sg_set_dma((*self.as_raw()).sgl, address, pfns.bytes() as u32);
            (*self.as_raw()).nents = 1;
        }
        Ok(())
    }

    /// Unmaps the memory from `device` with this cache maintenance. May sleep.
    ///
    /// # Safety
    ///
    /// - The table must be mapped for `device` in `direction`.
    /// - If maintenance is skipped, the device must access the memory itself.
    pub(crate) unsafe fn unmap(
        &mut self,
        device: &Device,
        direction: Direction,
        maintenance: Maintenance,
    ) {
        let (device, attributes) = (raw(device), self.attributes(maintenance));
        // SAFETY: The table is mapped for this device and direction by the safety requirements.
        unsafe {
            match self.pfns {
                None => bindings::dma_unmap_sgtable(device, self.as_raw(), direction, attributes),
                Some(pfns) => {
                    let address = bindings::sg_dma_address((*self.as_raw()).sgl);
                    c::dma_unmap_phys(device, address, pfns.bytes(), direction, attributes);
                }
            }
        }
    }

    /// Makes data written by `device` visible to the CPU.
    ///
    /// # Safety
    ///
    /// The table must describe pages and must be mapped for `device`.
    pub(crate) unsafe fn sync_for_cpu(&self, device: &Device, direction: Direction) {
        // SAFETY: The table is mapped for this device by the safety requirements.
        unsafe { c::dma_sync_sgtable_for_cpu(raw(device), self.as_raw(), direction) };
    }

    /// Makes data written by the CPU visible to `device`.
    ///
    /// # Safety
    ///
    /// The table must describe pages and must be mapped for `device`.
    pub(crate) unsafe fn sync_for_device(&self, device: &Device, direction: Direction) {
        // SAFETY: The table is mapped for this device by the safety requirements.
        unsafe { c::dma_sync_sgtable_for_device(raw(device), self.as_raw(), direction) };
    }
}

impl Drop for SgTable {
    fn drop(&mut self) {
        if !self.is_single() {
            // SAFETY: By the type invariants `sg_alloc_table()` initialised the table.
            unsafe { bindings::sg_free_table(self.as_raw()) };
        }
    }
}

/// A reference to a scatter list that is mapped for a device, by any exporter.
///
/// # Invariants
///
/// `table` is valid and stays mapped during `'a`.
pub(crate) struct MappedTable<'a> {
    table: NonNull<bindings::sg_table>,
    _mapped: PhantomData<&'a ()>,
}

impl<'a> MappedTable<'a> {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// `table` must be valid and must stay mapped during `'a`.
    pub(crate) unsafe fn from_raw(table: NonNull<bindings::sg_table>) -> Self {
        // INVARIANT: The table stays mapped during `'a` by the safety requirements.
        Self {
            table,
            _mapped: PhantomData,
        }
    }

    /// Returns the number of mapped ranges.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariant the table is valid.
        unsafe { self.table.as_ref().nents as usize }
    }

    /// Returns the DMA address and the length in bytes of each mapped range.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        // SAFETY: By the type invariant the table is valid.
        let (mut entry, entries) = unsafe { (self.table.as_ref().sgl, self.table.as_ref().nents) };
        (0..entries).map_while(move |_| {
            if entry.is_null() {
                return None;
            }
            // SAFETY: `entry` is one of the `nents` mapped entries of the table, which by the type
            // invariant is valid.
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
