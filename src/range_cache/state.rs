// SPDX-License-Identifier: GPL-2.0

//! What the lock of the range cache protects: the ranges, and the requests that are being served.

use super::{
    RangeRequest,
    RETENTION_MS, //
};
use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        cma::{
            Area,
            AreaLookup,
            Preparation, //
        },
        cma_requests::{
            RequestSize,
            RequestedArea, //
        },
        reclaimable::ReclaimableRange, //
    },
    decisions::segment::Segment, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The largest number of cached ranges.
const MAX_RANGES: usize = 64;

/// The largest number of tasks whose searches leave the cache alone at the same time.
const MAX_SEARCHES: usize = 64;

/// The largest number of other tasks whose requests are known one by one.
const MAX_REQUESTS: usize = 64;

/// The limit for an area of unknown size, in pages: 16 MiB with 4 KiB pages.
const DEFAULT_LIMIT: usize = 4096;

/// The size, in pages, from which allocating a new range is preferred to zeroing a cached one:
/// 1 MiB with 4 KiB pages.
const LARGE_RANGE: usize = 256;

/// The state of the cache. No function allocates memory or takes more than some microseconds,
/// except [`State::new`].
pub(super) struct State {
    /// Oldest first. The capacity is [`MAX_RANGES`] from the start.
    ranges: KVec<CachedRange>,
    areas: KVec<AreaState>,
    /// The searches for heaps, which leave the cache alone. The capacity is [`MAX_SEARCHES`] from
    /// the start.
    searches: KVec<Search>,
    /// The requests that are being served, without those searches. The capacity is [`MAX_REQUESTS`]
    /// from the start.
    requests: KVec<Request>,
    enabled: bool,
    /// Whether the thread is queued to prepare ranges.
    queued: bool,
}

/// An area of the kernel.
struct AreaState {
    area: Area,
    /// The largest number of pages to cache.
    limit: usize,
    /// The number of requests that are being served and had no place among the known ones.
    unknown_requests: usize,
}

/// A request to an area, by a driver or another kernel user.
struct Request {
    task: i32,
    area: Area,
}

/// A search of an area for a heap.
struct Search {
    task: i32,
    area: Area,
    /// The number of free pages of the area before the search. `usize::MAX` if unknown.
    available: usize,
    /// The number of cached pages of the area before that. Pages that are released meanwhile are in
    /// this number or in the other one.
    cached: usize,
    /// The lowest page frame of the ranges of which others have released pages meanwhile.
    /// `usize::MAX` if there is none.
    lowest_released: usize,
}

/// What is known after a search.
pub(super) struct Searched {
    /// The number of pages of the area that were free or are cached, and more if that is unknown.
    pub(super) obtainable: usize,
    /// The lowest page frame of the ranges of which others released pages during the search.
    /// `usize::MAX` if there is none, or that is unknown.
    lowest_released: usize,
    /// The first page frame of the lowest cached range. `usize::MAX` if there is none.
    lowest_cached: usize,
    /// The first page frame of the lowest cached range that contains what was requested.
    lowest_that_holds: Option<usize>,
}

impl Searched {
    /// Returns whether a search may find memory below page frame `found` if the cache has none of
    /// it: if so, the page frame below which the cached ranges have to be released first.
    ///
    /// This depends on the end of the search alone. Others may have released those ranges since.
    pub(super) fn limit_for_lower(&self, found: usize) -> Option<usize> {
        // A cached range that can serve the request alone is as good as a free one.
        let limit = self
            .lowest_that_holds
            .map_or(found, |lowest| found.min(lowest + 1));
        (self.lowest_released < found || self.lowest_cached < limit).then_some(limit)
    }
}

/// A cached range.
pub(super) struct CachedRange {
    preparation: Preparation,
    area: Area,
    since: Instant<Monotonic>,
    /// Counts the pages as reclaimable memory.
    reclaimable: ReclaimableRange,
}

/// The result of [`State::insert`].
pub(super) enum Inserted {
    /// The range is cached. With `wake` the thread has to be queued.
    Cached { wake: bool },
    /// Part of an older range was released. The range may be cached now.
    Full(CachedRange),
    /// The range must not be cached.
    Refused(CachedRange),
}

impl CachedRange {
    /// Returns a range of `area` that is cached from now on.
    pub(super) fn new(preparation: Preparation, area: Area) -> Self {
        Self {
            area,
            reclaimable: ReclaimableRange::new(&preparation),
            preparation,
            since: Instant::now(),
        }
    }

    /// Returns the area of the pages.
    pub(super) fn area(&self) -> Area {
        self.area
    }

    /// Returns the pages.
    pub(super) fn segment(&self) -> Segment {
        self.preparation.segment()
    }

    /// Returns whether the range has been cached for too long.
    pub(super) fn is_expired(&self) -> bool {
        self.since.elapsed().as_millis() >= RETENTION_MS
    }

    fn matches(&self, request: &RangeRequest) -> bool {
        self.segment().pages == request.pages
            && self.area() == request.area
            && self.segment().pfn & ((1 << request.align) - 1) == 0
    }

    fn is_ready(&self, request: &RangeRequest) -> bool {
        self.preparation.is_done_for(request.purpose)
    }
}

impl State {
    /// Creates the state of an empty, disabled cache. May sleep. Fails with `ENOMEM`.
    pub(super) fn new(lookup: Option<&AreaLookup>) -> Result<Self> {
        let mut areas = KVec::new();
        for area in Iterator::chain(Area::default().into_iter(), Area::all()) {
            let size = lookup.map(|lookup| lookup.extent(area).size >> PAGE_SHIFT);
            let state = AreaState {
                area,
                limit: size.map_or(DEFAULT_LIMIT, |pages| pages as usize / 2),
                unknown_requests: 0,
            };
            areas.push(state, GFP_KERNEL)?;
        }
        Ok(Self {
            ranges: KVec::with_capacity(MAX_RANGES, GFP_KERNEL)?,
            areas,
            searches: KVec::with_capacity(MAX_SEARCHES, GFP_KERNEL)?,
            requests: KVec::with_capacity(MAX_REQUESTS, GFP_KERNEL)?,
            enabled: false,
            queued: false,
        })
    }

    /// Takes a range for `request`, a prepared one if possible.
    pub(super) fn take(&mut self, request: &RangeRequest) -> Option<Preparation> {
        let ready = |range: &CachedRange| range.matches(request) && range.is_ready(request);
        if let Some(range) = self.remove(ready) {
            return Some(range);
        }
        // A pipeline frees a frame and allocates the next one at once. With one range more than it
        // uses, there is always a prepared one. So a single range that is not prepared is left to
        // the thread, and the area is tried first.
        let try_area_first = !request.first_fit && request.pages >= LARGE_RANGE;
        let matching = || self.ranges.iter().filter(|range| range.matches(request));
        if try_area_first && matching().count() == 1 {
            return None;
        }
        self.take_any(request)
    }

    /// Takes a range for `request`, prepared or not.
    pub(super) fn take_any(&mut self, request: &RangeRequest) -> Option<Preparation> {
        self.remove(|range| range.matches(request))
    }

    fn remove(&mut self, which: impl Fn(&CachedRange) -> bool) -> Option<Preparation> {
        let index = self.ranges.iter().position(which)?;
        let removed = self.ranges.remove(index).ok()?;
        Some(removed.preparation)
    }

    /// Returns the cached ranges of `area`.
    fn segments(&self, area: Area) -> impl Iterator<Item = Segment> + '_ {
        let ranges = self.ranges.iter();
        let of_area = ranges.filter(move |range| range.area() == area);
        of_area.map(CachedRange::segment)
    }

    /// Returns the first page frame of the lowest cached range that contains what `request` asks
    /// for.
    fn lowest_that_holds(&self, request: &RangeRequest) -> Option<usize> {
        let holds = |segment: &Segment| {
            let start = segment.pfn.next_multiple_of(1 << request.align);
            start - segment.pfn + request.pages <= segment.pages
        };
        let segments = self.segments(request.area).filter(holds);
        segments.map(|segment| segment.pfn).min()
    }

    /// Caches `range` if the limits permit that. If the cache is full, releases part of the oldest
    /// range of the area.
    pub(super) fn insert(&mut self, range: CachedRange) -> Inserted {
        let area = range.area();
        let requested = self.requests.iter().any(|request| request.area == area);
        let limit = match self.areas.iter().find(|state| state.area == area) {
            Some(state) if !requested && state.unknown_requests == 0 => state.limit,
            _ => 0,
        };
        if !self.enabled || range.segment().pages > limit {
            return Inserted::Refused(range);
        }
        let pages = self.pages(|other| other.area() == area);
        if pages + range.segment().pages > limit || self.ranges.len() == MAX_RANGES {
            return match self.release_step(|other| other.area() == area) {
                0 => Inserted::Refused(range),
                _ => Inserted::Full(range),
            };
        }
        match self.ranges.push_within_capacity(range) {
            Ok(()) => {
                let wake = !self.queued;
                self.queued = true;
                Inserted::Cached { wake }
            }
            Err(error) => Inserted::Refused(error.0),
        }
    }

    /// Releases pages of the oldest range for which `which` returns true. Returns their number, 0
    /// if there is no such range.
    pub(super) fn release_step(&mut self, which: impl Fn(&CachedRange) -> bool) -> usize {
        let Some(index) = self.ranges.iter().position(which) else {
            return 0;
        };
        let Some(range) = self.ranges.get_mut(index) else {
            return 0;
        };
        let pfn = range.segment().pfn;
        let released = range.preparation.release_step();
        let area = range.area();
        for search in self
            .searches
            .iter_mut()
            .filter(|search| search.area == area)
        {
            search.lowest_released = search.lowest_released.min(pfn);
        }
        range.reclaimable.shrink_to(range.segment().pages);
        if range.segment().pages == 0 {
            drop(self.ranges.remove(index));
        }
        released
    }

    /// Prepares pages of the oldest range that is not prepared. If others refer to its pages,
    /// releases some of them instead. Returns false if there is no such range.
    pub(super) fn prepare_step(&mut self, cleaner: &Cleaner) -> bool {
        let mut ranges = self.ranges.iter_mut();
        let Some(range) = ranges.find(|range| !range.preparation.is_done()) else {
            return false;
        };
        match range.preparation.step(cleaner) {
            Ok(()) => true,
            Err(error) if error == EBUSY => {
                self.release_step(|range| !range.preparation.is_done()) > 0
            }
            // The caller that takes the range tries again and reports the error.
            Err(_) => false,
        }
    }

    /// The thread begins to prepare ranges.
    pub(super) fn begin_preparing(&mut self) {
        self.queued = false;
    }

    /// Returns the age of the oldest range, in milliseconds.
    pub(super) fn oldest_age(&self) -> Option<i64> {
        let ages = self.ranges.iter().map(|range| range.since.elapsed());
        ages.map(|age| age.as_millis()).max()
    }

    /// Returns the number of cached pages of the ranges for which `which` returns true.
    pub(super) fn pages(&self, which: impl Fn(&CachedRange) -> bool) -> usize {
        let ranges = self.ranges.iter().filter(|range| which(range));
        ranges.map(|range| range.segment().pages).sum()
    }

    /// Notes that `task` searches an area and leaves the cache alone. If too many tasks do that, it
    /// is a request like any other.
    pub(super) fn begin_search(&mut self, task: i32, area: Area) {
        let search = Search {
            task,
            area,
            available: usize::MAX,
            cached: self.pages(|range| range.area() == area),
            lowest_released: usize::MAX,
        };
        let _ = self.searches.push_within_capacity(search);
    }

    /// Ends what [`State::begin_search`] began for `request`.
    pub(super) fn end_search(&mut self, task: i32, request: &RangeRequest) -> Searched {
        let frames = self.segments(request.area).map(|segment| segment.pfn);
        let unknown = Searched {
            obtainable: usize::MAX,
            lowest_released: usize::MAX,
            lowest_cached: frames.min().unwrap_or(usize::MAX),
            lowest_that_holds: self.lowest_that_holds(request),
        };
        let index = self.searches.iter().position(|search| search.task == task);
        let Some(search) = index.and_then(|index| self.searches.remove(index).ok()) else {
            return unknown;
        };
        let cached = self.pages(|range| range.area() == request.area);
        Searched {
            obtainable: search.available.saturating_add(cached.max(search.cached)),
            lowest_released: search.lowest_released,
            ..unknown
        }
    }

    /// Notes that `task` requests pages of `requested`. From now on nothing of that area is cached.
    /// Returns the area, and `None` if the cache is left alone.
    pub(super) fn begin_request(
        &mut self,
        task: i32,
        requested: RequestedArea,
        size: RequestSize,
    ) -> Option<Area> {
        let mut searches = self.searches.iter_mut();
        if let Some(search) = searches.find(|search| search.task == task) {
            search.available = size.available;
            return None;
        }
        let mut areas = self.areas.iter_mut();
        let state = areas.find(|state| requested.is(state.area))?;
        let area = state.area;
        let request = Request { task, area };
        if self.requests.push_within_capacity(request).is_err() {
            state.unknown_requests += 1;
        }
        Some(area)
    }

    /// Ends what [`State::begin_request`] began.
    pub(super) fn end_request(&mut self, task: i32, requested: RequestedArea) {
        if self.searches.iter().any(|search| search.task == task) {
            return;
        }
        let mut requests = self.requests.iter();
        let known = requests.position(|other| other.task == task && requested.is(other.area));
        if let Some(index) = known {
            let _ = self.requests.remove(index);
            return;
        }
        let mut areas = self.areas.iter_mut();
        if let Some(state) = areas.find(|state| requested.is(state.area)) {
            // A request that began before the cache observed requests is not counted.
            state.unknown_requests = state.unknown_requests.saturating_sub(1);
        }
    }

    /// Enables or disables the cache. The ranges stay where they are.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Whether ranges are cached.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }
}
