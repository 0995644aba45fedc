// SPDX-License-Identifier: GPL-2.0

//! The heap traits.

use crate::{
    abstractions::{
        cma::Area,
        dma_buf::DmaBuf, //
    },
    decisions::request::Request,
    ledger::Account,
    page_pool::PoolStats,
    range_cache::{
        HeapRange,
        LeftBeyondArea,
        RangeCache, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A source of dma-bufs that userspace looks up by name.
pub(crate) trait Heap: Send + Sync {
    /// Returns the account of the heap's allocations, which also has the heap's name.
    fn account(&self) -> &Arc<Account>;

    /// Returns the statistics of the heap's page pool, if it has one.
    fn pool_stats(&self) -> Option<PoolStats>;

    /// Returns what the heap may still take from RAM if its area has no place: nothing if it keeps
    /// to its area or has none by design. Does not sleep.
    fn left_beyond_area(&self) -> LeftBeyondArea {
        LeftBeyondArea::default()
    }

    /// Allocates a buffer.
    ///
    /// May sleep. Fails with `ENOMEM` if there is no memory or the request exceeds the heap's
    /// limit, and with `EINTR` on a fatal signal.
    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>>;
}

/// A heap of contiguous memory, which also allocates plain pages.
pub(crate) trait Contiguous: Heap {
    /// Returns the area that the memory is allocated from, if there is one.
    fn area(&self) -> Option<Area>;

    /// Returns the cache that freed ranges are put into.
    fn range_cache(&self) -> &Arc<RangeCache>;

    /// Allocates `pages` contiguous pages, not 0, without a dma-buf. They are zeroed, and clean if
    /// the heap's buffers are mapped write-combined.
    ///
    /// May sleep. Fails as [`Heap::allocate`] does.
    fn allocate_pages(&self, pages: usize) -> Result<HeapRange>;
}
