// SPDX-License-Identifier: GPL-2.0

//! The heap traits, and the way of a request to a heap.

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

/// A source of dma-bufs that userspace finds by its name.
pub(crate) trait Heap: Send + Sync {
    /// The account of what the heap has handed out; it also knows the heap's name.
    fn account(&self) -> &Arc<Account>;

    /// What the heap's page pool holds and did, if it has one.
    fn pool(&self) -> Option<PoolStats>;

    /// The cache that is drained before an allocation fails with `ENOMEM`.
    fn ranges(&self) -> &RangeCache;

    /// Allocates a buffer.
    ///
    /// May sleep. Fails with `ENOMEM` where there is no memory or the heap could never give that
    /// much, and with `EINTR` where a fatal signal came first.
    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>>;
}

/// Allocates a buffer of `heap`, and gives up what the module keeps before that fails for want of
/// memory.
///
/// May sleep. Fails as [`Heap::allocate`] does.
pub(crate) fn allocate(heap: &(impl Heap + ?Sized), request: Request) -> Result<ARef<DmaBuf>> {
    heap.ranges().retry_after_drain(|| heap.allocate(request))
}

/// A heap whose memory is contiguous, and which can hand out plain pages as well.
pub(crate) trait Contiguous: Heap {
    /// The area that the memory comes from.
    fn area(&self) -> Area;

    /// The cache that takes the pages back.
    fn range_cache(&self) -> &Arc<RangeCache>;

    /// Allocates `pages` pages, not 0, that are no buffer: zeroed, and ready to be seen as the
    /// heap's buffers are.
    ///
    /// May sleep. Fails as [`Heap::allocate`] does.
    fn allocate_pages(&self, pages: usize) -> Result<HeapRange>;
}
