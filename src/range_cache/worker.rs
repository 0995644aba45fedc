// SPDX-License-Identifier: GPL-2.0

//! The thread that prepares cached ranges and releases expired ones, and the shrinker.

use super::{
    CachedRange,
    Contents,
    RangeCache,
    BATCH_DELAY_MS,
    RETENTION_MS, //
};
use crate::abstractions::{
    background::{
        Background,
        Thread, //
    },
    shrinker::{
        Shrink,
        Shrinker, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Keeps the cache enabled. The fields are dropped in this order.
#[must_use = "dropping this disables the cache"]
pub(crate) struct Service {
    _disable: DisableOnDrop,
    _shrinker: Shrinker<RangeCache>,
    _thread: Thread<RangeCache>,
}

impl Service {
    /// Starts the thread and registers the shrinker. With `enabled`, ranges are cached from now on.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn start(cache: &Arc<RangeCache>, enabled: bool) -> Result<Self> {
        let work = cache.work.clone();
        let this = Self {
            _thread: Thread::start(c"rk_dma_heap_cma", work, cache.clone())?,
            _shrinker: Shrinker::register(c"rk_dma_heap_cma", cache.clone())?,
            _disable: DisableOnDrop(cache.clone()),
        };
        cache.set_enabled(enabled);
        Ok(this)
    }
}

/// Disables and so empties a cache when it is dropped.
struct DisableOnDrop(Arc<RangeCache>);

impl Drop for DisableOnDrop {
    fn drop(&mut self) {
        self.0.set_enabled(false);
    }
}

impl RangeCache {
    /// Prepares the oldest range that is not prepared. Returns false if there is none.
    fn prepare_one(&self) -> bool {
        let mut state = self.state.lock();
        let used = state.remove(|range| matches!(range.contents, Contents::Used(_)));
        let drains = state.drains;
        state.preparing = used.as_ref().map(CachedRange::extent);
        drop(state);
        let Some(used) = used else {
            return false;
        };
        let prepared = match used.contents {
            Contents::Used(range) => range.prepare(used.caching, &self.cleaner),
            Contents::Prepared(range) => Ok(range),
        };
        let mut state = self.state.lock();
        let refused = match prepared {
            Ok(range) if state.drains == drains => {
                state.preparing = None;
                let contents = Contents::Prepared(range);
                self.try_insert(&mut state, CachedRange { contents, ..used })
            }
            Ok(range) => {
                let contents = Contents::Prepared(range);
                Some((CachedRange { contents, ..used }, None))
            }
            // The range has been dropped.
            Err(_) => None,
        };
        drop(state);
        drop(refused);
        self.state.lock().preparing = None;
        true
    }
}

impl Background for RangeCache {
    fn run(&self) {
        self.state.lock().queued = false;
        while self.prepare_one() {}
        let expired = |range: &CachedRange| range.since.elapsed().as_millis() >= RETENTION_MS;
        while let Some(range) = self.remove(expired) {
            drop(range);
        }
        let state = self.state.lock();
        let ages = state.ranges.iter().map(|range| range.since.elapsed());
        if let Some(oldest) = ages.map(|age| age.as_millis()).max() {
            let left = (RETENTION_MS - oldest).clamp(BATCH_DELAY_MS.into(), RETENTION_MS);
            self.work.queue(left as u32);
        }
    }
}

#[vtable]
impl Shrink for RangeCache {
    fn count(&self) -> usize {
        let state = self.state.lock();
        state.ranges.iter().map(|range| range.segment.pages).sum()
    }

    fn scan(&self, pages: usize) -> usize {
        let mut freed = 0;
        while freed < pages {
            let Some(range) = self.remove(|_| true) else {
                // The thread releases the range that it prepares when it sees this.
                let mut state = self.state.lock();
                state.drains = state.drains.wrapping_add(1);
                break;
            };
            freed += range.segment.pages;
        }
        freed
    }
}
