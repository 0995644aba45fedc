// SPDX-License-Identifier: GPL-2.0

//! A cache of ranges that contiguous heaps have freed.
//!
//! `cma_alloc()` isolates whole page blocks and migrates the pages of others, which costs more than
//! zeroing the range. A pipeline that frees and allocates the same frames sixty times a second
//! would pay that for each frame. So a freed range stays in this cache for [`RETENTION_MS`], a
//! thread of low priority zeroes it, and the next buffer of the same size takes it.
//!
//! A cached range is missing to the area's other users. The cache therefore holds at most half of
//! an area, and releases ranges to their area after [`RETENTION_MS`], in reclaim, when an
//! allocation of the module fails ([`RangeCache::retry_after_drain`]), and when it is disabled.
//!
//! # Locks
//!
//! [`RangeCache::state`] is a spin lock; that of a [`DelayedWork`] is taken under it. Ranges are
//! zeroed and released with neither held.

mod heap_range;
mod placement;
mod worker;

pub(crate) use heap_range::HeapRange;
pub(crate) use placement::kernel_order;
pub(crate) use worker::Service;

use crate::{
    abstractions::{
        area_pages::AreaPages,
        background::DelayedWork,
        cache_cleaner::Cleaner,
        cma::{
            Area,
            AreaLookup,
            PreparedRange,
            Range, //
        },
        signal, //
    },
    decisions::{
        memory::{
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use kernel::{
    new_spinlock,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How long a range is cached, in milliseconds.
const RETENTION_MS: i64 = 1000;

/// The delay before the thread prepares freed ranges, in milliseconds: ranges freed together cost
/// one wake-up.
const BATCH_DELAY_MS: u32 = 10;

/// The largest number of cached ranges.
const MAX_RANGES: usize = 64;

/// The limit for an area of unknown size, in pages: 16 MiB with 4 KiB pages.
const DEFAULT_LIMIT: usize = 4096;

/// The size, in pages, from which allocating a new range is preferred to zeroing a cached one:
/// 1 MiB with 4 KiB pages.
const LARGE_RANGE: usize = 256;

/// The number of times that a drain polls whether the thread still prepares a range.
const MAX_DRAIN_POLLS: usize = 200;

/// The delay between two of these checks.
const DRAIN_POLL_INTERVAL: Delta = Delta::from_millis(1);

/// The cache.
#[pin_data]
pub(crate) struct RangeCache {
    cleaner: Arc<Cleaner>,
    /// The largest number of pages to cache of each area.
    limits: KVec<(Area, usize)>,
    /// Prepares ranges and releases expired ones.
    work: Arc<DelayedWork>,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    /// Oldest first. The capacity is [`MAX_RANGES`] from the start, so caching a range allocates
    /// nothing.
    ranges: KVec<CachedRange>,
    enabled: bool,
    /// Whether the thread is queued to prepare ranges.
    queued: bool,
    /// The area and size of the range that the thread prepares, which is not in `ranges` meanwhile.
    preparing: Option<(Area, usize)>,
    /// Counts drains; a range that the thread prepared across one is released.
    drains: u32,
}

struct CachedRange {
    contents: Contents,
    area: Area,
    segment: Segment,
    /// What the range is, or will be, prepared for.
    caching: Caching,
    since: Instant<Monotonic>,
}

enum Contents {
    Used(Range),
    Prepared(PreparedRange),
}

impl CachedRange {
    /// The area, and the number of pages.
    fn extent(&self) -> (Area, usize) {
        (self.area, self.segment.pages)
    }

    fn matches(&self, request: &RangeRequest) -> bool {
        self.segment.pages == request.pages
            && self.area == request.area
            && self.segment.pfn & ((1 << request.align) - 1) == 0
    }
}

impl State {
    fn remove(&mut self, which: impl Fn(&CachedRange) -> bool) -> Option<CachedRange> {
        let index = self.ranges.iter().position(which)?;
        self.ranges.remove(index).ok()
    }
}

/// A heap's request for a range.
#[derive(Clone, Copy)]
pub(crate) struct RangeRequest {
    /// The area.
    pub(crate) area: Area,
    /// The size in pages, not 0.
    pub(crate) pages: usize,
    /// The pages of the area, if they are known.
    pub(crate) area_pages: Option<AreaPages>,
    /// The range begins at a multiple of `2^align` pages.
    pub(crate) align: u32,
    /// Whether a range that is not cached is the lowest one that fits. The cached ranges of the
    /// area are released before it is allocated.
    pub(crate) first_fit: bool,
    /// How the CPU will map the memory.
    pub(crate) caching: Caching,
}

impl RangeCache {
    /// Creates an empty cache that is disabled. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(lookup: Option<&AreaLookup>, cleaner: Arc<Cleaner>) -> Result<Arc<Self>> {
        let mut limits = KVec::new();
        for area in Iterator::chain(Area::default().into_iter(), Area::all()) {
            let size = lookup.map(|lookup| lookup.extent(area).size >> PAGE_SHIFT);
            let limit = size.map_or(DEFAULT_LIMIT, |pages| pages as usize / 2);
            limits.push((area, limit), GFP_KERNEL)?;
        }
        let work = DelayedWork::new()?;
        let state = State {
            ranges: KVec::with_capacity(MAX_RANGES, GFP_KERNEL)?,
            enabled: false,
            queued: false,
            preparing: None,
            drains: 0,
        };
        Arc::pin_init(
            pin_init!(Self { cleaner, limits, work, state <- new_spinlock!(state) }),
            GFP_KERNEL,
        )
    }

    /// Allocates a range from the cache, or else from the area.
    ///
    /// May sleep. Fails with `ENOMEM`, and as [`Range::prepare`] does.
    pub(crate) fn allocate(self: &Arc<Self>, request: &RangeRequest) -> Result<HeapRange> {
        let matches = |range: &CachedRange| range.matches(request);
        let ready = |range: &CachedRange| {
            matches!(range.contents, Contents::Prepared(_)) && range.caching == request.caching
        };
        let mut state = self.state.lock();
        let mut cached = state.remove(|range| matches(range) && ready(range));
        // A pipeline frees a frame and allocates the next one at once. With one range more than it
        // uses, there is always a prepared one. So a single range that is not prepared is left to
        // the thread, and the area is tried first.
        let try_area_first = !request.first_fit && request.pages >= LARGE_RANGE;
        let matching = || state.ranges.iter().filter(|range| matches(range)).count();
        if cached.is_none() && !(try_area_first && matching() == 1) {
            cached = state.remove(matches);
        }
        drop(state);
        if cached.is_none() {
            if request.first_fit {
                self.drain(Some(request.area));
            }
            if let Some(range) = request.allocate_new() {
                return Ok(HeapRange::new(
                    self,
                    range.prepare(request.caching, &self.cleaner)?,
                ));
            }
            cached = self.state.lock().remove(matches);
        }
        let range = match cached.ok_or(ENOMEM)?.contents {
            Contents::Prepared(range) if range.caching() == request.caching => range,
            Contents::Prepared(range) => {
                let range = range.into_range();
                range.prepare(request.caching, &self.cleaner)?
            }
            Contents::Used(range) => range.prepare(request.caching, &self.cleaner)?,
        };
        Ok(HeapRange::new(self, range))
    }

    /// Caches `range`, or releases it to its area if the limits forbid that. Does not sleep.
    fn insert(&self, mut range: CachedRange) {
        // Nothing is released with the lock held.
        loop {
            let refused = self.try_insert(&mut self.state.lock(), range);
            match refused {
                Some((again, Some(oldest))) => {
                    drop(oldest);
                    range = again;
                }
                _ => break,
            }
        }
    }

    /// Caches `range`. Returns it if the limits forbid that, with the oldest range of its area if
    /// releasing that one helps.
    fn try_insert(
        &self,
        state: &mut State,
        range: CachedRange,
    ) -> Option<(CachedRange, Option<CachedRange>)> {
        let limit = self.limits.iter().find(|(area, _)| *area == range.area);
        let limit = limit.map_or(DEFAULT_LIMIT, |(_, pages)| *pages);
        if !state.enabled || range.segment.pages > limit {
            return Some((range, None));
        }
        let cached = state.ranges.iter().map(CachedRange::extent);
        let pages: usize = Iterator::chain(cached, state.preparing)
            .filter(|(area, _)| *area == range.area)
            .map(|(_, pages)| pages)
            .sum();
        if pages + range.segment.pages > limit || state.ranges.len() == MAX_RANGES {
            let oldest = state.remove(|other| other.area == range.area);
            return Some((range, oldest));
        }
        if !state.queued {
            state.queued = true;
            self.work.queue_at(BATCH_DELAY_MS);
        }
        let result = state.ranges.push_within_capacity(range);
        result.err().map(|error| (error.0, None))
    }

    /// Calls `allocate`. If it fails with `ENOMEM`, drains the cache and calls it again.
    ///
    /// May sleep. Fails as `allocate` does.
    pub(crate) fn retry_after_drain<T>(&self, allocate: impl Fn() -> Result<T>) -> Result<T> {
        match allocate() {
            Err(error) if error == ENOMEM && self.drain(None) => allocate(),
            result => result,
        }
    }

    /// Releases the cached ranges of `area`, or of all areas. Returns whether there were any. May
    /// sleep.
    fn drain(&self, area: Option<Area>) -> bool {
        let is_meant = |of: Area| area.is_none_or(|area| area == of);
        let prepares = |state: &State| state.preparing.is_some_and(|(area, _)| is_meant(area));
        let mut state = self.state.lock();
        if !prepares(&state) && !state.ranges.iter().any(|range| is_meant(range.area)) {
            return false;
        }
        state.drains = state.drains.wrapping_add(1);
        drop(state);
        while let Some(range) = self.remove(|range| is_meant(range.area)) {
            drop(range);
        }
        // The thread releases the range that it prepares when it sees that `drains` has changed.
        for _ in 0..MAX_DRAIN_POLLS {
            if !prepares(&self.state.lock()) || signal::fatal_pending() {
                break;
            }
            fsleep(DRAIN_POLL_INTERVAL);
        }
        true
    }

    /// Removes the oldest range for which `which` returns true. Does not sleep.
    fn remove(&self, which: impl Fn(&CachedRange) -> bool) -> Option<CachedRange> {
        self.state.lock().remove(which)
    }

    /// Enables or disables the cache. A disabled cache is empty when this returns. May sleep.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.state.lock().enabled = enabled;
        if !enabled {
            self.drain(None);
        }
    }

    /// Whether the cache is enabled.
    pub(crate) fn is_enabled(&self) -> bool {
        self.state.lock().enabled
    }
}
