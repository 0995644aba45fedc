// SPDX-License-Identifier: GPL-2.0

//! The `system` heaps: pages of the buddy allocator, not contiguous, one heap for each kind of
//! memory.

use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        pages::Zone, //
    },
    buffer,
    decisions::{
        memory::Caching,
        request::Request, //
    },
    heap::Heap,
    ledger::Account,
    page_pool::{
        Kind,
        Pool,
        PoolSet,
        PoolStats, //
    },
    range_cache::RangeCache, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
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
    siblings: Arc<PoolSet>,
    ranges: Arc<RangeCache>,
    limit: usize,
}

impl SystemHeap {
    /// Creates a heap over `pool`, one of `siblings`. A buffer has at most `limit` pages.
    pub(crate) fn new(
        pool: Arc<Pool>,
        siblings: Arc<PoolSet>,
        ranges: Arc<RangeCache>,
        limit: usize,
    ) -> Result<Self> {
        Ok(Self {
            account: Account::new(pool.name())?,
            pool,
            siblings,
            ranges,
            limit,
        })
    }
}

impl Heap for SystemHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool_stats(&self) -> Option<PoolStats> {
        Some(self.pool.stats())
    }

    fn range_cache(&self) -> &Arc<RangeCache> {
        &self.ranges
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if pages > self.limit {
            return Err(ENOMEM);
        }
        let memory = self.pool.collect(pages, &self.siblings);
        buffer::export(memory, &self.account, request)
    }
}
