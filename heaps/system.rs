// SPDX-License-Identifier: GPL-2.0

//! The `system` heaps: non-contiguous pages of the buddy allocator, one heap per type of memory.

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        dma_buf::DmaBuf,
        pages::Zone, //
    },
    buffer,
    decisions::{
        memory::Caching,
        request::Request, //
    },
    heap::Heap,
    kept_memory::KeptMemory,
    ledger::Account,
    page_pool::{
        MemoryType,
        Pool,
        PoolStats, //
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

/// The system heaps: names and types of memory.
pub(crate) const HEAPS: [(&CStr, MemoryType); 4] = [
    (
        c"system",
        MemoryType {
            zone: Zone::Any,
            caching: Caching::Cached,
        },
    ),
    (
        c"system-uncached",
        MemoryType {
            zone: Zone::Any,
            caching: Caching::WriteCombined,
        },
    ),
    (
        c"system-dma32",
        MemoryType {
            zone: Zone::Dma32,
            caching: Caching::Cached,
        },
    ),
    (
        c"system-uncached-dma32",
        MemoryType {
            zone: Zone::Dma32,
            caching: Caching::WriteCombined,
        },
    ),
];

/// A heap of pages from the buddy allocator.
pub(crate) struct SystemHeap {
    account: Arc<Account>,
    pool: Arc<Pool>,
    /// What gives way to a buffer, including `pool`.
    kept: Arc<KeptMemory>,
    /// The largest buffer, in pages.
    limit: usize,
}

impl SystemHeap {
    /// Creates a heap over `pool`, part of `kept`, with buffers of up to `limit` pages.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(
        pool: Arc<Pool>,
        kept: Arc<KeptMemory>,
        limit: usize,
        cleaner: Arc<Cleaner>,
    ) -> Result<Self> {
        Ok(Self {
            account: Account::with_cleaner(pool.name(), Some(cleaner))?,
            pool,
            kept,
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

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if pages > self.limit {
            return Err(ENOMEM);
        }
        let memory = self.pool.allocate(pages, &*self.kept);
        buffer::export(memory, &self.account, request)
    }
}
