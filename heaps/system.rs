// SPDX-License-Identifier: GPL-2.0

//! The `system` heaps: pages of the buddy allocator, not contiguous, one heap for each kind of memory.

use crate::{
    buffer,
    dma_buf::DmaBuf,
    heap::Heap,
    ledger::Account,
    memory::Caching,
    page_pool::{Figures, Keeper, Kind, Pool},
    pages::Zone,
    request::Request,
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// Every system heap: its name and its kind of memory.
pub(crate) const HEAPS: [(&CStr, Kind); 4] = [
    (
        c"system",
        Kind {
            zone: Zone::Any,
            caching: Caching::Cached,
        },
    ),
    (
        c"system-uncached",
        Kind {
            zone: Zone::Any,
            caching: Caching::WriteCombined,
        },
    ),
    (
        c"system-dma32",
        Kind {
            zone: Zone::Dma32,
            caching: Caching::Cached,
        },
    ),
    (
        c"system-uncached-dma32",
        Kind {
            zone: Zone::Dma32,
            caching: Caching::WriteCombined,
        },
    ),
];

/// A heap of pages from the buddy allocator.
pub(crate) struct SystemHeap {
    account: Arc<Account>,
    pool: Arc<Pool>,
    all_pools: Arc<Keeper>,
    limit: usize,
}

impl SystemHeap {
    /// A heap over `pool`, one of `all_pools`, that gives out at most `limit` pages at a time.
    pub(crate) fn new(pool: Arc<Pool>, all_pools: Arc<Keeper>, limit: usize) -> Result<Self> {
        Ok(Self {
            account: Account::open(pool.name())?,
            pool,
            all_pools,
            limit,
        })
    }
}

impl Heap for SystemHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool(&self) -> Option<Figures> {
        Some(self.pool.figures())
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if pages > self.limit {
            return Err(ENOMEM);
        }
        let memory = self.pool.collect(pages, &self.all_pools);
        buffer::export(memory, &self.account, request)
    }
}
