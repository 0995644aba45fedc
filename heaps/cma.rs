// SPDX-License-Identifier: GPL-2.0

//! The heaps of contiguous memory: each allocates ranges of one contiguous memory area.

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

/// The properties by which heaps over the same area differ.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// The area.
    pub(crate) area: Area,
    /// The size of the area in pages; `usize::MAX` if unknown.
    pub(crate) limit: usize,
    /// The pages of the area, if they are known.
    pub(crate) pages: Option<AreaPages>,
    /// Where ranges are placed in the area.
    pub(crate) placement: Placement,
    /// How the CPU maps the memory.
    pub(crate) caching: Caching,
}

/// A heap over one area.
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
    fn area(&self) -> Area {
        self.layout.area
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
        if pages > self.layout.limit {
            return Err(ENOMEM);
        }
        let (align, first_fit) = match self.layout.placement {
            Placement::Aligned => (kernel_order(pages), false),
            Placement::Packed => (0, true),
        };
        self.ranges.allocate(&RangeRequest {
            area: self.layout.area,
            area_pages: self.layout.pages,
            pages,
            align,
            first_fit,
            purpose,
        })
    }
}

impl Heap for CmaHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool_stats(&self) -> Option<PoolStats> {
        None
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
