// SPDX-License-Identifier: GPL-2.0

//! Ranges of RAM outside of contiguous memory areas.
//!
//! Small ranges come from the page allocator, which puts them beside other unmovable memory. It has
//! no large ones.
//!
//! `alloc_contig_range()` allocates given page frames and migrates the pages of others. It isolates
//! whole blocks of page frames, and fails if there is unmovable memory in the first or last one,
//! beside the range too, or a block is of an area. So smaller steps than blocks find nothing more.
//! Which page frames are worth an attempt is found out beforehand, by the state of each page: an
//! attempt takes milliseconds, and `alloc_contig_pages()` makes any number of them.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/pageblock-flags.h`](srctree/include/linux/pageblock-flags.h)

use super::Range;
use crate::{
    abstractions::{
        area_pages::BatchDrain,
        signal,
        task, //
    },
    bindings as c,
    decisions::{
        ram_search::RangeSearch,
        segment::Segment, //
    }, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The number of looks at page frames between two checks for signals.
const BATCH: usize = 1024;

/// The page frames that a search accepts, from the cheapest on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum RamUse {
    /// Free ones. No page is migrated.
    Free,
    /// Those of movable pages too.
    Movable,
    /// Those of movable pages to which others refer too. They may be pinned for a moment only.
    Pinned,
}

/// The range that is searched for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The size in pages, not 0.
    pub(crate) pages: usize,
    /// The page frame number below which it ends.
    pub(crate) end: usize,
    /// The page frames that it may consist of.
    pub(crate) accepted: RamUse,
}

/// The RAM without contiguous memory areas.
///
/// # Examples
///
/// ```
/// use crate::abstractions::cma::{Ram, RamUse, Wanted};
///
/// let ram = Ram::new(KVec::new(), None);
/// let wanted = Wanted { pages: 3, end: usize::MAX, accepted: RamUse::Movable };
/// let zone = ram.zones().next().ok_or(ENODEV)?;
/// let candidate = ram.find(&zone, zone.start(), &wanted)?.ok_or(ENOMEM)?;
/// assert_eq!(candidate.segment().pages, 3);
/// assert_eq!(candidate.segment().pfn % Ram::block_pages(), 0);
///
/// let range = ram.allocate_small(3, true).ok_or(ENOMEM)?;
/// assert_eq!(range.segment().pages, 3);
/// assert!(ram.allocate_small(usize::MAX >> 13, true).is_none());
///
/// let nothing = Wanted { pages: usize::MAX, ..wanted };
/// assert!(ram.find(&zone, zone.start(), &nothing)?.is_none());
/// ```
pub(crate) struct Ram {
    /// The page frames of the areas: they look free, but are not to be had.
    areas: KVec<Segment>,
    drain: Option<BatchDrain>,
}

/// A zone of RAM.
///
/// # Invariants
///
/// `zone` is a zone of the kernel.
pub(crate) struct Zone {
    zone: NonNull<c_void>,
    start: usize,
    end: usize,
}

/// Page frames that can probably be allocated.
///
/// # Invariants
///
/// When they were looked at, all page frames were online and of one zone.
pub(crate) struct Candidate(Segment);

impl Ram {
    /// The page frame number at 4 GiB.
    pub(crate) const END_OF_4G: usize = 1 << (32 - PAGE_SHIFT);

    /// Describes the RAM without `areas`.
    pub(crate) fn new(areas: KVec<Segment>, drain: Option<BatchDrain>) -> Self {
        Self { areas, drain }
    }

    /// Returns the number of pages in a block that is isolated as a whole, a power of two.
    pub(crate) fn block_pages() -> usize {
        // SAFETY: The function returns a constant and has no requirements.
        unsafe { c::pageblock_pages() }
    }

    /// Allocates a range of `pages` pages, not 0, from the page allocator. Returns `None` if it has
    /// no free block of that size, and for sizes that it never has.
    ///
    /// May sleep, reclaims and compacts memory, and never triggers the OOM killer.
    pub(crate) fn allocate_small(&self, pages: usize, below_4g: bool) -> Option<Range> {
        let zone = match below_4g {
            true => c::GFP_USER | c::GFP_DMA32,
            false => c::GFP_HIGHUSER,
        };
        self.allocate_split(zone | c::GFP_NOWARN | c::GFP_RETRY_MAYFAIL, pages)
            // On 32-bit arm all RAM may be above 4 GiB.
            .filter(|range| !below_4g || range.segment.pfn + range.segment.pages <= Self::END_OF_4G)
    }

    /// Does what [`Ram::allocate_small`] does without reclaiming and compacting memory. May sleep.
    pub(crate) fn allocate_small_gently(&self, pages: usize, below_4g: bool) -> Option<Range> {
        let zone = match below_4g {
            true => c::GFP_USER | c::GFP_DMA32,
            false => c::GFP_HIGHUSER,
        };
        self.allocate_split(zone & !c::GFP_RECLAIM | c::GFP_NOWARN, pages)
            .filter(|range| !below_4g || range.segment.pfn + range.segment.pages <= Self::END_OF_4G)
    }

    /// Allocates a range of `pages` pages, not 0, from the page allocator with the flags `gfp`.
    fn allocate_split(&self, gfp: bindings::gfp_t, pages: usize) -> Option<Range> {
        if pages > usize::MAX >> PAGE_SHIFT {
            return None;
        }
        // SAFETY: The number of bytes does not wrap. Process context may call the function.
        let head = NonNull::new(unsafe { c::alloc_pages_split(gfp, pages) })?;
        // SAFETY: The page was allocated above.
        let pfn = unsafe { c::page_to_pfn(head.as_ptr()) };
        // INVARIANT: The pages were allocated above. Each has a reference of its own, as those of
        // `alloc_contig_range()` have. Nobody else has seen them.
        Some(Range {
            area: None,
            segment: Segment { pfn, pages },
            exposed: false,
        })
    }

    /// Returns an iterator over the zones, from the highest one down. Memory for movable pages only
    /// is left out: ranges are not movable.
    pub(crate) fn zones(&self) -> impl Iterator<Item = Zone> {
        (0..).map_while(|index| {
            let (mut start, mut end) = (0, 0);
            // SAFETY: The function accepts any index, and writes to both numbers if it succeeds.
            let zone = unsafe { c::ram_zone(index, &mut start, &mut end) };
            // INVARIANT: The function returns a zone of the kernel or null. The kernel never frees
            // one.
            NonNull::new(zone.cast_mut()).map(|zone| Zone { zone, start, end })
        })
    }

    /// Makes pages that are only in the CPUs' batches for the LRU lists movable. May sleep.
    pub(crate) fn drain_batches(&self) {
        if let Some(drain) = &self.drain {
            drain.drain();
        }
    }

    /// Returns the lowest range of `zone` from the page frame number `from` on whose blocks consist
    /// of accepted page frames. It begins with a block.
    ///
    /// May sleep. Fails with `EINTR` on a fatal signal.
    pub(crate) fn find(
        &self,
        zone: &Zone,
        from: usize,
        wanted: &Wanted,
    ) -> Result<Option<Candidate>> {
        let end = zone.end.min(wanted.end);
        let from = from.max(zone.start);
        let block = Self::block_pages();
        let Some(pages) = wanted.pages.checked_next_multiple_of(block) else {
            return Ok(None);
        };
        let mut search = RangeSearch::new(from, pages, block.trailing_zeros());
        let mut looks = 0usize;
        while search.fits_below(end) {
            if let Some(pfn) = search.found() {
                let pages = wanted.pages;
                // INVARIANT: Page frames that are not online, or of another zone, are not accepted.
                return Ok(Some(Candidate(Segment { pfn, pages })));
            }
            looks += 1;
            if looks % BATCH == 0 {
                task::reschedule();
                if signal::fatal_pending() {
                    return Err(EINTR);
                }
            }
            let pfn = search.next();
            match self.end_of_area(pfn) {
                Some(end) => search.add(false, end - pfn),
                None => {
                    let (accepted, pages) = zone.look(pfn, wanted.accepted);
                    search.add(accepted, pages);
                }
            }
        }
        Ok(None)
    }

    /// Returns the page frame number after the area that contains `pfn`, if one does.
    fn end_of_area(&self, pfn: usize) -> Option<usize> {
        let mut areas = self.areas.iter();
        let area = areas.find(|area| pfn >= area.pfn && pfn - area.pfn < area.pages)?;
        Some(area.pfn + area.pages)
    }
}

impl Zone {
    /// Returns the first page frame number.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Returns whether the zone has page frames from `start` on before `end`.
    pub(crate) fn overlaps(&self, start: usize, end: usize) -> bool {
        self.start.max(start) < self.end.min(end)
    }

    /// Returns whether all of the zone is below 4 GiB.
    pub(crate) fn is_below_4g(&self) -> bool {
        self.end <= Ram::END_OF_4G
    }

    /// Returns the number of pages that the zone can spare: free ones and half of the page cache,
    /// above [`Watermark::High`](crate::abstractions::free_memory::Watermark::High) and what the
    /// kernel keeps there for allocations that cannot come from higher zones. That is nothing if
    /// the memory has to be `below_4g` itself. Does not sleep.
    pub(crate) fn spare_pages(&self, below_4g: bool) -> usize {
        // SAFETY: By the type invariants the zone is valid.
        unsafe { c::zone_spare_pages(self.zone.as_ptr(), below_4g) }
    }

    /// Returns whether the kernel cannot use the zone for its own allocations.
    pub(crate) fn is_highmem(&self) -> bool {
        // SAFETY: By the type invariants the zone is valid.
        unsafe { c::zone_is_highmem(self.zone.as_ptr()) }
    }

    /// Returns whether the page frame `pfn` is one of `accepted`, and the number of page frames
    /// from there on for which the answer is the same.
    fn look(&self, pfn: usize, accepted: RamUse) -> (bool, usize) {
        let mut count = 1;
        // SAFETY: By the type invariants the zone is valid. The function accepts any page frame
        // number.
        let usage = unsafe { c::ram_page_use(self.zone.as_ptr(), pfn, &mut count) };
        let usage = match usage {
            c::rk_dma_heap_page_use_RK_PAGE_FREE => RamUse::Free,
            c::rk_dma_heap_page_use_RK_PAGE_MOVABLE => RamUse::Movable,
            c::rk_dma_heap_page_use_RK_PAGE_PINNED => RamUse::Pinned,
            _ => return (false, 1),
        };
        (usage <= accepted, count)
    }
}

impl Candidate {
    /// Returns the page frames.
    pub(crate) fn segment(&self) -> Segment {
        self.0
    }

    /// Returns the number of the page frames that are free in `zone`, which is that of the search.
    /// May sleep.
    pub(crate) fn free_pages(&self, zone: &Zone) -> usize {
        let (mut free, mut rest) = (0, Some(self.0));
        while let Some(part) = rest {
            let (is_free, pages) = zone.look(part.pfn, RamUse::Free);
            let pages = pages.clamp(1, part.pages);
            if is_free {
                free += pages;
            }
            rest = part.skip(pages);
            task::reschedule();
        }
        free
    }

    /// Allocates the page frames.
    ///
    /// May sleep, and migrates pages of other users. Fails with `EBUSY` if a page cannot be
    /// migrated or another allocation has isolated page frames nearby, with `ENOMEM` if there is no
    /// memory to migrate to, and with `EINTR` on a fatal signal.
    pub(crate) fn allocate(self) -> Result<Range> {
        self.allocate_with(true)
    }

    /// Does what [`Candidate::allocate`] does, without reclaiming memory for the pages of others:
    /// fails with `ENOMEM` if there is none.
    pub(crate) fn allocate_gently(self) -> Result<Range> {
        self.allocate_with(false)
    }

    fn allocate_with(self, reclaim: bool) -> Result<Range> {
        let Segment { pfn, pages } = self.0;
        // SAFETY: By the type invariants the page frames exist and are of one zone. The function
        // fails if they are not free or movable any more.
        to_result(unsafe { c::alloc_contig_range(pfn, pages, reclaim) })?;
        // INVARIANT: The pages were allocated above. Nobody else has seen them.
        Ok(Range {
            area: None,
            segment: self.0,
            exposed: false,
        })
    }
}
