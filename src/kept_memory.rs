// SPDX-License-Identifier: GPL-2.0

//! All memory that the module keeps for later requests, and gives up before one fails.

use crate::{
    abstractions::shrinker::Shrink,
    page_pool::PoolSet,
    range_cache::RangeCache, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The pages of all pools, and the reserve of contiguous RAM.
///
/// The kernel calls shrinkers only below its watermarks, and the heaps leave it more than that. So
/// a heap that is short of pages shrinks these itself. Cached ranges of areas do not help: their
/// pages can only be migrated to.
pub(crate) struct KeptMemory {
    pools: Arc<PoolSet>,
    ranges: Arc<RangeCache>,
}

impl KeptMemory {
    /// Creates the sum of both. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(pools: Arc<PoolSet>, ranges: Arc<RangeCache>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { pools, ranges }, GFP_KERNEL)?)
    }
}

#[vtable]
impl Shrink for KeptMemory {
    fn count(&self) -> usize {
        let reserve = self.ranges.reserve_pages();
        self.pools.count().saturating_add(reserve)
    }

    /// Shrinks the pools first: the reserve takes longer to fill.
    fn scan(&self, pages: usize) -> usize {
        let freed = self.pools.scan(pages);
        match pages.saturating_sub(freed) {
            0 => freed,
            wanted => freed.saturating_add(self.ranges.give_way(wanted, false)),
        }
    }
}
