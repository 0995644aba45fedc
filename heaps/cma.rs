// SPDX-License-Identifier: GPL-2.0

//! The heaps of contiguous memory: each hands out ranges of one contiguous memory area.

use crate::{
    buffer,
    cache_cleaner::Cleaner,
    cma::Area,
    dma_buf::DmaBuf,
    heap::{Contiguous, Heap},
    kept_ranges::HeapRange,
    ledger::Account,
    memory::Caching,
    page_pool::Figures,
    request::Request,
    user_mapping::HUGE_ORDER,
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// The largest order that ranges are aligned to: what the kernel aligns to by itself, or more where one entry of a page table
/// then maps all of it.
const LARGEST_ALIGN: u32 = if Area::LARGEST_ALIGN > HUGE_ORDER {
    Area::LARGEST_ALIGN
} else {
    HUGE_ORDER
};

/// Where in its area a range may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// At a multiple of its size rounded up to a power of two, up to [`LARGEST_ALIGN`]: it can be mapped with few entries.
    Aligned,
    /// At any page, the lowest that fits: an area that is barely large enough takes everything.
    Packed,
}

/// A heap over one area.
pub(crate) struct CmaHeap {
    account: Arc<Account>,
    area: Area,
    /// The size of the area, in pages.
    limit: usize,
    placement: Placement,
    caching: Caching,
    cleaner: Arc<Cleaner>,
}

impl CmaHeap {
    /// A heap named `name` over `area`, which has `limit` pages.
    pub(crate) fn new(
        name: &CStr,
        area: Area,
        limit: usize,
        placement: Placement,
        caching: Caching,
        cleaner: Arc<Cleaner>,
    ) -> Result<Self> {
        Ok(Self {
            account: Account::open(name)?,
            area,
            limit,
            placement,
            caching,
            cleaner,
        })
    }
}

impl Contiguous for CmaHeap {
    fn area(&self) -> Area {
        self.area
    }

    fn allocate_pages(&self, pages: usize) -> Result<HeapRange> {
        if pages > self.limit {
            return Err(ENOMEM);
        }
        let align = match self.placement {
            Placement::Aligned => pages
                .next_power_of_two()
                .trailing_zeros()
                .min(LARGEST_ALIGN),
            Placement::Packed => 0,
        };
        let first_fit = self.placement == Placement::Packed;
        HeapRange::allocate(
            self.area,
            pages,
            align,
            first_fit,
            self.caching,
            &self.cleaner,
        )
    }
}

impl Heap for CmaHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool(&self) -> Option<Figures> {
        None
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let memory = self.allocate_pages(request.size() >> PAGE_SHIFT);
        buffer::export(memory, &self.account, request)
    }
}
