// SPDX-License-Identifier: GPL-2.0

//! A cache of ranges that contiguous heaps have freed.
//!
//! `cma_alloc()` isolates whole page blocks and migrates the pages of others, which costs more than
//! zeroing the range. A pipeline that frees and allocates the same frames sixty times a second
//! would pay that for each frame. So a freed range stays in this cache for [`RETENTION_MS`], a
//! thread of low priority zeroes it, and the next buffer of the same size takes it.
//!
//! # Others are not starved
//!
//! A cached range is missing to the area's other users. So the cache holds at most half of an area,
//! and none of it while a request of another user is served: the kernel announces each request
//! ([`cma_requests`](crate::abstractions::cma_requests)), and the requesting task releases all
//! cached ranges of the area before the area is searched. On a kernel that does not announce
//! requests the cache is disabled. Ranges are also released after [`RETENTION_MS`], by a thread of
//! high priority, in reclaim, when the cache is disabled, and when the area cannot serve a heap
//! ([`RangeCache::search`]).
//!
//! A range is zeroed and released in steps of some microseconds, under the lock. So it is always in
//! the cache or in the area, never in the hands of a thread that others would have to wait for.
//! Anybody can take over a range that is being zeroed, and continue.
//!
//! # Beyond areas
//!
//! Where a heap may use ordinary memory, a range that its area has no place for is one of RAM
//! ([`RamRanges`]). Such ranges are not cached, but some may be taken early ([`Reserve`]).
//!
//! # Locks
//!
//! [`RangeCache::state`] is a spin lock. Under it an area and the page allocator lock themselves to
//! free pages. Areas are searched with it not held.

mod heap_range;
mod placement;
mod quota;
mod ram;
mod reserve;
mod state;
#[cfg(CONFIG_KUNIT)]
mod tests;
mod worker;

pub(crate) use heap_range::HeapRange;
pub(crate) use placement::kernel_order;
pub(crate) use ram::{
    LeftBeyondArea,
    RamRanges,
    RamRequest, //
};
pub(crate) use worker::Service;

use crate::{
    abstractions::{
        area_pages::AreaPages,
        background::DelayedWork,
        cache_cleaner::Cleaner,
        cma::{
            Area,
            AreaLookup,
            Preparation,
            Purpose,
            Range, //
        },
        task, //
    },
    page_pool::PoolSet, //
};
use kernel::{
    current,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use reserve::Reserve;
use state::{
    CachedRange,
    Inserted,
    Searched,
    State, //
};

/// How long a range is cached, in milliseconds.
const RETENTION_MS: i64 = 1000;

/// The delay before the thread prepares freed ranges, in milliseconds: ranges freed together cost
/// one wake-up.
const BATCH_DELAY_MS: u32 = 10;

/// The cache.
#[pin_data]
pub(crate) struct RangeCache {
    cleaner: Arc<Cleaner>,
    /// Prepares ranges.
    work: Arc<DelayedWork>,
    /// Releases expired ranges.
    expiry: Arc<DelayedWork>,
    /// The ranges that are not of an area.
    #[pin]
    ram: RamRanges,
    /// Those of them that are ready for requests.
    #[pin]
    reserve: Reserve,
    #[pin]
    state: SpinLock<State>,
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
    /// Whether a range that is not cached is the lowest one that fits.
    pub(crate) first_fit: bool,
    /// What the range is for.
    pub(crate) purpose: Purpose,
}

impl RangeCache {
    /// Creates an empty cache that is disabled. Up to `ram_percent` percent of RAM are allocated
    /// outside of areas, before which `pools` shrink. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(
        lookup: Option<&AreaLookup>,
        cleaner: Arc<Cleaner>,
        pools: Arc<PoolSet>,
        ram_percent: u8,
    ) -> Result<Arc<Self>> {
        let work = DelayedWork::new()?;
        let expiry = DelayedWork::new()?;
        let state = State::new(lookup)?;
        let ram = RamRanges::new(lookup, pools, ram_percent)?;
        let reserve = Reserve::new(&cleaner)?;
        Arc::pin_init(
            pin_init!(Self {
                cleaner,
                work,
                expiry,
                ram <- ram,
                reserve <- reserve,
                state <- new_spinlock!(state),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the largest number of pages of ranges that are not of an area, at present.
    pub(crate) fn ram_limit(&self) -> usize {
        self.ram.limit()
    }

    /// Returns what requests may still take from RAM. Does not sleep.
    pub(crate) fn left_beyond_area(&self, below_4g: bool) -> LeftBeyondArea {
        self.ram.left(below_4g, self.reserve.pages())
    }

    /// Allocates a range of RAM.
    ///
    /// May sleep. Fails with `ENOMEM` if the limit is reached or the kernel cannot provide the
    /// range in a few attempts, with `EINTR` on a fatal signal, and as [`Cleaner::clean`] does.
    pub(crate) fn allocate_from_ram(self: &Arc<Self>, request: &RamRequest) -> Result<HeapRange> {
        let give_way = |pages, low_only| {
            self.give_way(pages, low_only);
        };
        let (charges, range) = self.ram.allocate(request, give_way)?;
        let range = range.finish(&self.cleaner)?;
        charges.keep();
        Ok(HeapRange::new(self, range))
    }

    /// Allocates a range from the cache, if that has one of the size. Drops cached ranges to whose
    /// pages others still refer.
    ///
    /// May sleep. Fails as [`Preparation::finish`] does.
    pub(crate) fn allocate_cached(
        self: &Arc<Self>,
        request: &RangeRequest,
    ) -> Result<Option<HeapRange>> {
        loop {
            let cached = self.state.lock().take(request);
            let Some(range) = cached else {
                return Ok(None);
            };
            if let Some(range) = self.finish(range.with_purpose(request.purpose))? {
                return Ok(Some(range));
            }
        }
    }

    /// Prepares the rest of a range. Returns `None`, and drops it, if others refer to its pages.
    ///
    /// May sleep. Fails as [`Preparation::finish`] does otherwise.
    fn finish(self: &Arc<Self>, range: Preparation) -> Result<Option<HeapRange>> {
        match range.finish(&self.cleaner) {
            Err(error) if error == EBUSY => Ok(None),
            range => Ok(Some(HeapRange::new(self, range?))),
        }
    }

    /// Allocates a range from the cache, or else from the area. Drops cached ranges of that size to
    /// whose pages others still refer.
    ///
    /// May sleep. Fails with `ENOMEM`, and as [`Preparation::finish`] does for a new range.
    pub(crate) fn allocate(self: &Arc<Self>, request: &RangeRequest) -> Result<HeapRange> {
        loop {
            if let Some(range) = self.allocate_cached(request)? {
                return Ok(range);
            }
            // This may be a cached one of another size.
            let range = self.allocate_new(request).ok_or(ENOMEM)?;
            if let Some(range) = self.finish(range)? {
                return Ok(range);
            }
        }
    }

    /// Allocates a range from the area, and from the cache if the area has none. May sleep.
    fn allocate_new(&self, request: &RangeRequest) -> Option<Preparation> {
        let (range, searched) = if request.first_fit {
            self.search_lowest(request)
        } else {
            self.search(request)
        };
        if let Some(range) = range {
            return Some(Preparation::new(range, request.purpose));
        }
        let cached = self.state.lock().take_any(request);
        if let Some(range) = cached {
            return Some(range.with_purpose(request.purpose));
        }
        if request.pages > searched.obtainable {
            return None;
        }
        // The cache may be what is missing. From here on the request is one like any other: nothing
        // of the area is cached until it is served.
        self.release(|range| range.area() == request.area);
        let range = request.allocate_new()?;
        Some(Preparation::new(range, request.purpose))
    }

    /// Allocates the first free range of the area that fits, and leaves the cache alone. May sleep.
    fn search(&self, request: &RangeRequest) -> (Option<Range>, Searched) {
        let task = current!().pid();
        self.state.lock().begin_search(task, request.area);
        let range = request.allocate_new();
        let searched = self.state.lock().end_search(task, request);
        (range, searched)
    }

    /// Allocates the lowest range of the area that fits if nothing of the area were cached.
    ///
    /// Releases only cached ranges that may be part of it, and otherwise does what
    /// [`RangeCache::search`] does. Searches once more if there were such ranges, whoever has
    /// released them. May sleep.
    fn search_lowest(&self, request: &RangeRequest) -> (Option<Range>, Searched) {
        let (found, searched) = self.search(request);
        let Some(found) = found else {
            return (None, searched);
        };
        let Some(limit) = searched.limit_for_lower(found.segment().pfn) else {
            return (Some(found), searched);
        };
        self.release(|range| range.area() == request.area && range.segment().pfn < limit);
        drop(found);
        self.search(request)
    }

    /// Releases the cached ranges for which `which` returns true to their areas, oldest first. May
    /// sleep.
    fn release(&self, which: impl Fn(&CachedRange) -> bool) {
        // The guard is dropped after each step.
        while self.state.lock().release_step(&which) > 0 {
            task::reschedule();
        }
    }

    /// Caches a range of `area`, or releases it if the limits forbid that. Does not sleep.
    fn insert(&self, range: Preparation, area: Area) {
        let mut range = CachedRange::new(range, area);
        loop {
            let inserted = self.state.lock().insert(range);
            match inserted {
                Inserted::Refused(refused) => {
                    drop(refused);
                    return;
                }
                Inserted::Full(again) => range = again,
                Inserted::Cached { wake } => {
                    if wake {
                        self.work.queue_at(BATCH_DELAY_MS);
                    }
                    self.expiry.queue(RETENTION_MS as u32);
                    return;
                }
            }
        }
    }

    /// Puts a range of RAM into the reserve, or releases it. May sleep.
    fn release_to_ram(&self, range: Preparation) {
        let Err(mut range) = self.reserve.insert_freed(range) else {
            return;
        };
        while range.segment().pages > 0 {
            self.ram.freed(ram::release_step(&mut range));
            task::reschedule();
        }
    }

    /// Enables or disables the cache. A disabled cache is empty when this returns, and the ranges
    /// are in their areas. May sleep.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.state.lock().set_enabled(enabled);
        if !enabled {
            self.release(|_| true);
        }
    }

    /// Whether the cache is enabled.
    pub(crate) fn is_enabled(&self) -> bool {
        self.state.lock().is_enabled()
    }
}
