// SPDX-License-Identifier: GPL-2.0

//! The heaps of contiguous memory: each allocates ranges of one contiguous memory area, of RAM
//! where the area has no place, or of RAM alone.

use crate::{
    abstractions::{
        area_pages::AreaPages,
        cache_cleaner::{
            Cleaner,
            WRITE_COMBINED_WORKS, //
        },
        cma::{
            Area,
            Purpose, //
        },
        dma_buf::DmaBuf, //
    },
    buffer,
    decisions::{
        memory::Caching,
        request::Request, //
    },
    heap::{
        Contiguous,
        Heap, //
    },
    ledger::Account,
    page_pool::PoolStats,
    range_cache::{
        kernel_order,
        HeapRange,
        LeftBeyondArea,
        RamRequest,
        RangeCache,
        RangeRequest, //
    }, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// The alignment policy for ranges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// At a multiple of the size rounded up to a power of two, up to the limit of the kernel, as
    /// the kernel's own heaps do; or at a multiple of a huge page if as many ranges of the size
    /// fit then. Few page table or IOMMU entries map such a range.
    Aligned,
    /// At the lowest page where the range fits, if pinned pages do not make that expensive. A
    /// barely large enough area serves all requests.
    Packed,
}

/// An area, as far as it is known.
#[derive(Clone, Copy)]
pub(crate) struct AreaLayout {
    /// The area.
    pub(crate) area: Area,
    /// The size of the area in pages; `usize::MAX` if unknown.
    pub(crate) limit: usize,
    /// The pages of the area, if they are known.
    pub(crate) pages: Option<AreaPages>,
}

/// The RAM that a heap uses when its area has no place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// None: the area is exclusive.
    Nothing,
    /// All RAM.
    Ram,
    /// RAM below 4 GiB.
    RamBelow4Gib,
}

/// The properties by which heaps differ.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// The area, if the heap has one.
    pub(crate) area: Option<AreaLayout>,
    /// What is used where the area has no place.
    pub(crate) beyond: Beyond,
    /// Where ranges are placed in the area.
    pub(crate) placement: Placement,
    /// How the CPU maps the memory.
    pub(crate) caching: Caching,
}

/// A heap of contiguous memory.
pub(crate) struct CmaHeap {
    account: Arc<Account>,
    layout: Layout,
    purpose: Purpose,
    ranges: Arc<RangeCache>,
    /// Whether programs pass addresses of buffers to devices that never attach.
    for_addresses: bool,
}

impl CmaHeap {
    /// Creates a heap named `name`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(
        name: &CStr,
        layout: Layout,
        ranges: Arc<RangeCache>,
        cleaner: Arc<Cleaner>,
    ) -> Result<Self> {
        Ok(Self {
            account: Account::with_cleaner(name, Some(cleaner))?,
            layout,
            purpose: layout.caching.into(),
            ranges,
            for_addresses: false,
        })
    }

    /// Lets CPU access to buffers that no importer has mapped be synced all the same, for programs
    /// that pass physical addresses to devices whose drivers do not attach. The zeroes of new
    /// memory are written back for such a device.
    pub(crate) fn for_addresses(self) -> Self {
        let effective = self.account.cleaner().is_some_and(Cleaner::is_effective);
        let purpose = match self.purpose {
            Purpose::Cached if effective => Purpose::CachedAndClean,
            purpose => purpose,
        };
        Self {
            purpose,
            for_addresses: true,
            ..self
        }
    }
}

impl Contiguous for CmaHeap {
    fn area(&self) -> Option<Area> {
        self.layout.area.map(|layout| layout.area)
    }

    fn range_cache(&self) -> &Arc<RangeCache> {
        &self.ranges
    }

    fn allocate_pages(&self, pages: usize) -> Result<HeapRange> {
        self.allocate_range(pages, self.purpose)
    }
}

impl CmaHeap {
    /// Allocates `pages` pages, prepared for `purpose`. May sleep. Fails as [`Heap::allocate`]
    /// does.
    fn allocate_range(&self, pages: usize, purpose: Purpose) -> Result<HeapRange> {
        let area = self.layout.area.as_ref();
        let area_request = area.and_then(|area| self.area_request(area, pages, purpose));
        let from_area = || match &area_request {
            Some(request) => self.ranges.allocate(request),
            None => Err(ENOMEM),
        };
        let Some(ram_request) = self.ram_request(pages, purpose) else {
            // The reserve has none of the memory of an exclusive area.
            return from_area();
        };
        if let Some(ready) = self.allocate_ready(area_request.as_ref(), &ram_request)? {
            return Ok(ready);
        }
        self.ranges.serve_without_reserve(|| match from_area() {
            Err(error) if error == ENOMEM => self.ranges.allocate_from_ram(&ram_request),
            range => range,
        })
    }

    /// Allocates a range that the cache or the reserve has, if there is a reserve. May sleep. Fails
    /// as [`Heap::allocate`] does.
    fn allocate_ready(
        &self,
        from_area: Option<&RangeRequest>,
        from_ram: &RamRequest,
    ) -> Result<Option<HeapRange>> {
        if !self.ranges.has_reserve() {
            return Ok(None);
        }
        if let Some(request) = from_area {
            if let Some(cached) = self.ranges.allocate_cached(request)? {
                return Ok(Some(cached));
            }
        }
        self.ranges.allocate_from_reserve(from_ram)
    }

    /// Returns the request for `pages` pages of `area`, if they can fit.
    fn area_request(
        &self,
        area: &AreaLayout,
        pages: usize,
        purpose: Purpose,
    ) -> Option<RangeRequest> {
        if pages > area.limit {
            return None;
        }
        let (align, first_fit) = match self.layout.placement {
            Placement::Aligned => (kernel_order(pages), false),
            Placement::Packed => (0, true),
        };
        Some(RangeRequest {
            area: area.area,
            area_pages: area.pages,
            pages,
            align,
            first_fit,
            purpose,
        })
    }

    /// Returns the request for `pages` pages of RAM, if the heap may use that and the limit permits
    /// them.
    fn ram_request(&self, pages: usize, purpose: Purpose) -> Option<RamRequest> {
        let below_4g = match self.layout.beyond {
            Beyond::Nothing => return None,
            Beyond::Ram => false,
            Beyond::RamBelow4Gib => true,
        };
        let request = RamRequest {
            pages,
            below_4g,
            purpose,
        };
        (pages <= self.ranges.ram_limit()).then_some(request)
    }
}

impl Heap for CmaHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool_stats(&self) -> Option<PoolStats> {
        None
    }

    fn left_beyond_area(&self) -> LeftBeyondArea {
        match self.layout.beyond {
            Beyond::Nothing => LeftBeyondArea::default(),
            Beyond::Ram => self.ranges.left_beyond_area(false),
            Beyond::RamBelow4Gib => self.ranges.left_beyond_area(true),
        }
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if request.is_uncached() {
            let cleanable = self.account.cleaner().is_some_and(Cleaner::reaches_memory);
            if !WRITE_COMBINED_WORKS || !self.for_addresses || !cleanable {
                return Err(EINVAL);
            }
            let memory = self.allocate_range(pages, Caching::WriteCombined.into());
            return buffer::export(memory, &self.account, request);
        }
        let memory = self.allocate_pages(pages);
        match self.for_addresses {
            true => buffer::export_for_addresses(memory, &self.account, request),
            false => buffer::export(memory, &self.account, request),
        }
    }
}
