// SPDX-License-Identifier: GPL-2.0

//! What works on the cache: the thread that prepares ranges, the one that releases expired ones,
//! the shrinker, and the tasks that request pages of an area.

use super::{
    reserve::{
        Filling,
        GivingWay, //
    },
    state::CachedRange,
    RangeCache,
    RETENTION_MS, //
};
use crate::abstractions::{
    background::{
        Background,
        Priority,
        Thread, //
    },
    cma_requests::{
        Observer,
        RequestSize,
        RequestedArea,
        Requests, //
    },
    hibernation::Notifier,
    oom_notifier::OomNotifier,
    shrinker::{
        Shrink,
        Shrinker, //
    },
    task, //
};
use kernel::{
    current,
    prelude::*,
    sync::Arc, //
};

/// Keeps the cache enabled. The fields are dropped in this order.
#[must_use = "dropping this disables the cache"]
pub(crate) struct Service {
    _disable: DisableOnDrop,
    _requests: Option<Requests<RangeCache>>,
    _shrinkers: (Shrinker<RangeCache>, Shrinker<GivingWay>),
    _last_resort: OomNotifier<GivingWay>,
    _hibernation: Notifier<GivingWay>,
    _threads: (Thread<RangeCache>, Thread<Expiry>, Thread<Filling>),
}

impl Service {
    /// Starts the threads and registers the shrinker. With `enabled`, ranges are cached from now
    /// on, if the kernel announces the requests of others.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn start(cache: &Arc<RangeCache>, enabled: bool) -> Result<Self> {
        let expiry = Arc::new(Expiry(cache.clone()), GFP_KERNEL)?;
        let prepare = Thread::start(
            c"rk_dma_heap_cma",
            Priority::Lowest,
            cache.work.clone(),
            cache.clone(),
        )?;
        let expire = Thread::start(
            c"rk_dma_heap_exp",
            Priority::Highest,
            cache.expiry.clone(),
            expiry,
        )?;
        let filling = Arc::new(Filling(cache.clone()), GFP_KERNEL)?;
        let fill = Thread::start(
            c"rk_dma_heap_rsv",
            Priority::Lowest,
            cache.reserve.work.clone(),
            filling,
        )?;
        let giving_way = Arc::new(GivingWay(cache.clone()), GFP_KERNEL)?;
        let requests = match Requests::observe(cache.clone()) {
            Err(error) if error == ENOENT => None,
            requests => Some(requests?),
        };
        if enabled && requests.is_none() {
            pr_info!(
                "keep_ranges: 0, this kernel does not announce requests to CMA areas; write 1 to \
                 /proc/rk_dma_heap/keep_ranges to cache freed ranges, which other drivers then \
                 miss for up to a second\n"
            );
        }
        let enabled = enabled && requests.is_some();
        let this = Self {
            _threads: (prepare, expire, fill),
            _last_resort: OomNotifier::register(giving_way.clone())?,
            _hibernation: Notifier::register(giving_way.clone())?,
            _shrinkers: (
                Shrinker::register(c"rk_dma_heap_cma", cache.clone())?,
                Shrinker::register(c"rk_dma_heap_rsv", giving_way)?,
            ),
            _requests: requests,
            _disable: DisableOnDrop(cache.clone()),
        };
        cache.set_enabled(enabled);
        Ok(this)
    }
}

/// Disables and so empties a cache and its reserve when it is dropped.
struct DisableOnDrop(Arc<RangeCache>);

impl Drop for DisableOnDrop {
    fn drop(&mut self) {
        self.0.set_enabled(false);
        self.0.end_reserve();
    }
}

impl Background for RangeCache {
    /// Prepares all ranges.
    fn run(&self) {
        self.state.lock().begin_preparing();
        // The guard is dropped after each step.
        while self.state.lock().prepare_step(&self.cleaner) {
            task::reschedule();
        }
    }
}

/// Releases the expired ranges of a cache.
///
/// It has a thread of its own: the one that prepares ranges has the lowest priority, and busy
/// processes keep it from running for seconds.
struct Expiry(Arc<RangeCache>);

impl Background for Expiry {
    fn run(&self) {
        let cache = &self.0;
        cache.release(CachedRange::is_expired);
        let oldest = cache.state.lock().oldest_age();
        if let Some(oldest) = oldest {
            // A range that was freed meanwhile may have queued the work for a later time.
            cache
                .expiry
                .queue_at((RETENTION_MS - oldest).clamp(1, RETENTION_MS) as u32);
        }
    }
}

impl Observer for RangeCache {
    fn started(&self, area: RequestedArea, size: RequestSize) {
        let task = current!().pid();
        let area = self.state.lock().begin_request(task, area, size);
        // Which ranges would do is unknown: only the area knows what else of it is free.
        if let Some(area) = area.filter(|_| size.pages <= size.total) {
            self.release(|range| range.area() == area);
        }
    }

    fn finished(&self, area: RequestedArea) {
        self.state.lock().end_request(current!().pid(), area);
    }
}

#[vtable]
impl Shrink for RangeCache {
    fn count(&self) -> usize {
        self.state.lock().pages(|_| true)
    }

    fn scan(&self, pages: usize) -> usize {
        let mut freed = 0;
        while freed < pages {
            // The guard is dropped after each step.
            match self.state.lock().release_step(|_| true) {
                0 => break,
                released => freed += released,
            }
        }
        freed
    }
}
