// SPDX-License-Identifier: GPL-2.0

//! Ranges of RAM for heaps whose area has no place, or that have no area.
//!
//! Such a range is freed as soon as its owner drops it. All ranges together are limited, and each
//! leaves the kernel the reserve of free pages ([`watermarks`]), so nobody is killed for one. The
//! number of attempts to migrate the pages of others is limited, so a request fails in bounded time
//! if such pages are pinned.
//!
//! # Low memory first
//!
//! Memory below 4 GiB is searched first, also for heaps that do not promise it. A default area lies
//! there, so drivers whose devices have 32-bit addresses import buffers of these heaps. Above 4 GiB
//! such a device needs a bounce buffer: a copy of each frame, or a failure if the frame is larger
//! than bounce buffers are. To migrate other pages once costs less.
//!
//! But low memory is also what other drivers have no substitute for. So each zone keeps its
//! watermark high, and, unless the range itself has to be there, the part that the kernel keeps for
//! allocations that cannot come from a higher zone. And low memory has a limit of its own, the same
//! share of it as that of all RAM: requests that may be served from elsewhere do not exceed it.
//! Then memory above 4 GiB is searched.
//!
//! # Locks
//!
//! [`RamRanges::attempt`] is a mutex, held for one attempt: two attempts at neighbouring page
//! frames fail each other, and each relies on what it finds free. The kernel holds a mutex of the
//! area in the same way. It is acquired with none of the module's spin locks held, and under it
//! those that are acquired in reclaim. Who waits for it can be killed.

mod refill;

use super::quota::{
    Charge,
    Quota, //
};
use crate::{
    abstractions::{
        cma::{
            Area,
            AreaLookup,
            Preparation,
            Purpose,
            Ram,
            RamUse,
            Range,
            Wanted,
            Zone, //
        },
        free_memory,
        killable_mutex::KillableMutex,
        shrinker::Shrink,
        signal, //
    },
    decisions::segment::Segment,
    page_pool::PoolSet,
    watermarks, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

/// The number of attempts in vain before a request gives up a part of RAM.
const MAX_ATTEMPTS: u32 = 16;

/// The distance to the next attempt after the first one in vain, in pages: 2 MiB. It doubles with
/// each: the pages around one that cannot be migrated often belong to the same file.
pub(super) const DISTANCE: usize = (2 << 20) >> PAGE_SHIFT;

/// A heap's request for a range of RAM.
#[derive(Clone, Copy)]
pub(crate) struct RamRequest {
    /// The size in pages, not 0.
    pub(crate) pages: usize,
    /// Whether the range must lie below 4 GiB.
    pub(crate) below_4g: bool,
    /// What the range is for.
    pub(crate) purpose: Purpose,
}

/// What a heap may still take from RAM if its area has no place.
#[derive(Clone, Copy, Default)]
pub(crate) struct LeftBeyondArea {
    /// The number of pages up to the limit, which is that of all such heaps together.
    pub(crate) limit: usize,
    /// The number of pages that the kernel and the pools can spare at present, an estimate.
    pub(crate) spare: usize,
    /// The number of pages that are reserved for such heaps, which are part of both.
    pub(crate) reserve: usize,
}

/// The ranges of RAM of all heaps.
#[pin_data]
pub(crate) struct RamRanges {
    ram: Ram,
    pools: Arc<PoolSet>,
    /// The pages of all ranges, and of those that are being allocated.
    all: Quota,
    /// Those of them that are below 4 GiB.
    low: Quota,
    #[pin]
    attempt: KillableMutex<()>,
}

/// The pages that count for a range until this is dropped.
pub(super) struct Charges<'a> {
    all: Charge<'a>,
    low: Option<Charge<'a>>,
}

impl Charges<'_> {
    /// Lets the pages count until [`RamRanges::freed`] is called.
    pub(super) fn keep(self) {
        self.all.keep();
        if let Some(low) = self.low {
            low.keep();
        }
    }
}

/// A part of RAM, and the attempts in vain that a request may still make there.
struct Part {
    start: usize,
    end: usize,
    attempts_left: u32,
}

impl RamRanges {
    /// Creates an empty set that has up to `percent` percent of RAM, and of what is below 4 GiB, at
    /// a time. `pools` shrink before a request fails. May sleep. Fails with `ENOMEM`.
    pub(super) fn new(
        lookup: Option<&AreaLookup>,
        pools: Arc<PoolSet>,
        percent: u8,
    ) -> Result<impl PinInit<Self>> {
        let mut areas = KVec::new();
        let all = Iterator::chain(Area::default().into_iter(), Area::all());
        for pages in all.filter_map(|area| lookup?.pages(area)) {
            areas.push(pages.frames(), GFP_KERNEL)?;
        }
        let ram = Ram::new(areas, lookup.map(|lookup| lookup.batch_drain()));
        Ok(pin_init!(Self {
            ram,
            pools,
            all: Quota::new(percent, free_memory::total_ram),
            low: Quota::new(percent, free_memory::ram_below_4g),
            attempt <- KillableMutex::new((), c"RamRanges::attempt", static_lock_class!()),
        }))
    }

    /// Returns the limit for all ranges, in pages. Does not sleep.
    pub(crate) fn limit(&self) -> usize {
        self.all.limit()
    }

    /// Returns what requests may still take, with `reserve` pages that give way. Does not sleep.
    pub(super) fn left(&self, below_4g: bool, reserve: usize) -> LeftBeyondArea {
        if self.limit() == 0 {
            return LeftBeyondArea::default();
        }
        let spare = |is_low: bool| -> usize {
            let zones = self.ram.zones().filter(|zone| zone.is_below_4g() == is_low);
            zones.map(|zone| zone.spare_pages(below_4g)).sum()
        };
        let pools = self.pools.count();
        let (share_of_low, high) = match below_4g {
            true => (usize::MAX, 0),
            false => (self.low.left(), spare(false)),
        };
        // What the kernel needs may be low memory beyond the share: it does not reduce the share.
        let spare = spare(true)
            .saturating_add(high)
            .saturating_add(pools)
            .saturating_sub(watermarks::reserve());
        let most = share_of_low.saturating_add(high).saturating_add(pools);
        LeftBeyondArea {
            limit: self.all.left().saturating_add(reserve),
            spare: spare.min(most).saturating_add(reserve),
            reserve,
        }
    }

    /// Uncounts pages that were freed. Does not sleep.
    pub(super) fn freed(&self, part: Segment) {
        self.all.uncharge(part.pages);
        if is_low(part) {
            self.low.uncharge(part.pages);
        }
    }

    /// Returns whether ranges below 4 GiB have more than their share of it, so that only requests
    /// that have to be there may take more.
    pub(super) fn low_is_exceeded(&self) -> bool {
        self.low.is_exceeded()
    }

    /// Returns whether memory below 4 GiB is short while there is other memory: requests for what
    /// has to be there fail then, though memory as a whole is not short. Does not sleep.
    pub(super) fn low_is_short(&self) -> bool {
        let all_is_low = self.ram.zones().all(|zone| zone.is_below_4g());
        let low = self.ram.zones().filter(Zone::is_below_4g);
        let spare: usize = low.map(|zone| zone.spare_pages(true)).sum();
        !all_is_low && spare < watermarks::reserve()
    }

    /// Allocates a range.
    ///
    /// At a limit, `give_way` is called with a number of pages that should be released first, and
    /// whether only those below 4 GiB help. May sleep. Fails with `ENOMEM` if the limit is reached
    /// or the kernel cannot provide the range, and with `EINTR` on a fatal signal.
    pub(super) fn allocate(
        &self,
        request: &RamRequest,
        give_way: impl Fn(usize, bool),
    ) -> Result<(Charges<'_>, Preparation)> {
        let all = self.all.charge(request.pages).or_else(|_| {
            give_way(self.all.excess(request.pages), false);
            self.all.charge(request.pages)
        })?;
        if !watermarks::can_exist(request.pages, &*self.pools) {
            return Err(ENOMEM);
        }
        watermarks::ensure_range(request.pages, &*self.pools)?;
        // Who needs low memory has no other, so the limit for it is not for them.
        let mut low = match request.below_4g {
            true => Some(self.low.charge_beyond_limit(request.pages)),
            false => self.low.charge(request.pages).ok(),
        };
        let range = match self.search(request, low.is_some()) {
            Err(error) if error == ENOMEM && low.is_none() => {
                give_way(self.low.excess(request.pages), true);
                low = Some(self.low.charge(request.pages)?);
                self.search(request, true)?
            }
            range => range?,
        };
        let low = low.filter(|_| is_low(range.segment()));
        watermarks::start_reclaim();
        // Others may have allocated meanwhile.
        watermarks::ensure_whole_reserve(&*self.pools)?;
        let charges = Charges { all, low };
        Ok((charges, Preparation::new(range, request.purpose)))
    }

    /// Searches RAM, with more effort each time.
    ///
    /// A range that is smaller than a block would keep the whole block from others. So the page
    /// allocator is asked first. The range is below 4 GiB only if it `may_be_low`.
    fn search(&self, request: &RamRequest, may_be_low: bool) -> Result<Range> {
        if request.pages < Ram::block_pages() {
            if let Some(range) = self.allocate_small(request, may_be_low) {
                return Ok(range);
            }
        }
        let end = match request.below_4g {
            true => Ram::END_OF_4G,
            false => usize::MAX,
        };
        let end_of_low = match may_be_low {
            true => Ram::END_OF_4G,
            false => 0,
        };
        let mut parts = [self.part(0, end_of_low), self.part(Ram::END_OF_4G, end)];
        let range = self.search_parts(request, [RamUse::Free, RamUse::Movable], &mut parts)?;
        if let Some(range) = range {
            return Ok(range);
        }
        if parts.iter().all(|part| part.attempts_left == 0) {
            return Err(ENOMEM);
        }
        // Pooled pages, and those in batches for the LRU lists, look unmovable.
        self.pools.scan(usize::MAX);
        self.ram.drain_batches();
        let range = self.search_parts(request, [RamUse::Movable, RamUse::Pinned], &mut parts)?;
        range.ok_or(ENOMEM)
    }

    /// Returns the part of RAM from the page frame number `start` on that ends before `end`. A part
    /// without memory has no attempts.
    fn part(&self, start: usize, end: usize) -> Part {
        let has_memory = self.ram.zones().any(|zone| zone.overlaps(start, end));
        Part {
            start,
            end,
            attempts_left: if has_memory { MAX_ATTEMPTS } else { 0 },
        }
    }

    /// Allocates a range from the page allocator, which takes the highest memory first. So it is
    /// asked for memory below 4 GiB as long as that can be spared. May sleep.
    fn allocate_small(&self, request: &RamRequest, may_be_low: bool) -> Option<Range> {
        let pages = request.pages;
        let all_is_low = self.ram.zones().all(|zone| zone.is_below_4g());
        let low_suffices = || {
            let mut low = self.ram.zones().filter(Zone::is_below_4g);
            low.any(|zone| !zone.is_highmem() && zone.spare_pages(false) >= pages)
        };
        let range = match request.below_4g || all_is_low || !may_be_low || !low_suffices() {
            true => None,
            false => self.ram.allocate_small(pages, true),
        };
        let range = range.or_else(|| self.ram.allocate_small(pages, request.below_4g));
        range.filter(|range| may_be_low || !is_low(range.segment()))
    }

    /// Searches the parts of RAM in their order, each with more effort each time.
    fn search_parts(
        &self,
        request: &RamRequest,
        efforts: [RamUse; 2],
        parts: &mut [Part],
    ) -> Result<Option<Range>> {
        for part in parts {
            for accepted in efforts {
                if let Some(range) = self.search_part(request, accepted, part)? {
                    return Ok(Some(range));
                }
            }
        }
        Ok(None)
    }

    /// Searches the zones of a part of RAM, from the highest one down: the lower one is, the fewer
    /// devices can use another.
    fn search_part(
        &self,
        request: &RamRequest,
        accepted: RamUse,
        part: &mut Part,
    ) -> Result<Option<Range>> {
        let wanted = Wanted {
            pages: request.pages,
            end: part.end,
            accepted,
        };
        for zone in self.ram.zones() {
            let mut from = zone.start().max(part.start);
            while part.attempts_left > 0 {
                match self.try_next(&zone, from, &wanted, request.below_4g)? {
                    Some(Ok(range)) => return Ok(Some(range)),
                    Some(Err(end)) => from = part.after(end),
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// Makes an attempt at the first candidate of `zone` from the page frame number `from` on.
    /// Returns the range, or the end of the candidate if the attempt was in vain, or `None` if
    /// there is no candidate, or the kernel would not have its reserve left.
    fn try_next(
        &self,
        zone: &Zone,
        from: usize,
        wanted: &Wanted,
        below_4g: bool,
    ) -> Result<Option<Result<Range, usize>>> {
        if wanted.accepted == RamUse::Free && zone.spare_pages(below_4g) < wanted.pages {
            return Ok(None);
        }
        // A search may take long, so it is made without the mutex.
        let Some(seen) = self.ram.find(zone, from, wanted)? else {
            return Ok(None);
        };
        let _attempt = self.attempt.lock()?;
        // Others may have allocated since the request began. Low memory has to be there alone:
        // highmem is of no use for the kernel's own allocations.
        if !watermarks::leave_reserve(wanted.pages, zone.is_highmem()) {
            return Ok(None);
        }
        let Some(candidate) = self.ram.find(zone, seen.segment().pfn, wanted)? else {
            return Ok(None);
        };
        let end = candidate.segment().pfn + candidate.segment().pages;
        // Pages that are migrated do not leave the zone with fewer free ones than it has to have:
        // the page allocator finds them another place.
        if candidate.free_pages(zone) > zone.spare_pages(below_4g) {
            return Ok(Some(Err(end)));
        }
        match candidate.allocate() {
            Err(error) if error == EINTR || signal::fatal_pending() => Err(EINTR),
            answer => Ok(Some(answer.map_err(|_| end))),
        }
    }
}

impl Part {
    /// Counts an attempt in vain at page frames before `end`. Returns where to go on.
    fn after(&mut self, end: usize) -> usize {
        let distance = DISTANCE << MAX_ATTEMPTS.saturating_sub(self.attempts_left);
        self.attempts_left = self.attempts_left.saturating_sub(1);
        end.saturating_add(distance)
    }
}

/// Releases some pages of a range, from its end, and returns them. Takes bounded time and does not
/// sleep.
pub(super) fn release_step(range: &mut Preparation) -> Segment {
    let before = range.segment();
    let pages = range.release_step();
    Segment {
        pfn: before.pfn + (before.pages - pages),
        pages,
    }
}

/// Returns whether a range is below 4 GiB. None is partly.
pub(super) fn is_low(range: Segment) -> bool {
    range.pfn < Ram::END_OF_4G
}
