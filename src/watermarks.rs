// SPDX-License-Identifier: GPL-2.0

//! A reserve of free pages that the heaps leave to the kernel's own allocations.

use crate::abstractions::{
    free_memory::{
        self,
        Watermark, //
    },
    pages::{
        PageRun,
        Reclaim,
        RunList,
        Zone, //
    },
    shrinker::Shrink,
    signal, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The size of a request for which memory is not counted in advance, in pages: 1 MiB.
const UNCOUNTED_REQUEST: usize = (1 << 20) >> PAGE_SHIFT;

/// The largest request that the reserve may be lent to, in pages: 256 KiB.
const SMALL_REQUEST: usize = (256 << 10) >> PAGE_SHIFT;
static_assert!(SMALL_REQUEST > 0);

/// The reserve above the kernel's high watermark, as a divisor of RAM.
///
/// A buffer takes several slab objects. Each slab refill may move a batch of pages, up to a
/// thousandth of RAM or 256 KiB, to the per-CPU lists. On fragmentation the page allocator raises
/// all its watermarks for a while.
const RESERVE_DIVISOR: usize = 64;

/// The upper limit of the reserve, in pages: 16 MiB.
const MAX_RESERVE: usize = (16 << 20) >> PAGE_SHIFT;

/// How often direct reclaim is tried. Other tasks may allocate what it reclaimed.
const MAX_ATTEMPTS: usize = 10;

/// The delay between two attempts.
const RETRY_DELAY: Delta = Delta::from_millis(5);

/// The largest number of pages to reclaim per attempt: 4 MiB.
const RECLAIM_BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// Returns whether memory for `missing` more pages can exist at all. Does not sleep.
pub(crate) fn can_exist(missing: usize, pools: &impl Shrink) -> bool {
    // The kernel's count has the pools too, but not what changed in the last moments.
    let kept = || pools.count().max(free_memory::kept_pages());
    missing <= UNCOUNTED_REQUEST || missing <= free_memory::obtainable_pages() + kept()
}

/// The pages of the reserve that are lent to small requests.
///
/// The kernel serves its own allocations down to the watermark min. If all requests left the whole
/// reserve above the watermark high, a small one would fail where each driver still gets memory.
/// But many small requests are a large one. So the reserve is lent to them up to
/// [`Loans::SHARE`], and what the kernel has left above the watermark min has to be a multiple of
/// what is lent. A loan ends when its pages are back in the page allocator.
pub(crate) struct Loans {
    pages: Atomic<usize>,
}

impl Loans {
    /// The part of the reserve that may be lent at a time, as a divisor.
    const SHARE: usize = 8;

    /// The free pages above the watermark min for each page that is lent.
    const COVER: usize = 4;

    /// The free pages above the watermark min for the slab objects of a buffer, as a divisor of the
    /// reserve.
    const OBJECTS: usize = 16;

    /// The smallest reserve that is lent, in pages: 8 MiB, that of 512 MiB of RAM. Less than a part
    /// of it does not suffice to start a process.
    const MIN_RESERVE: usize = (8 << 20) >> PAGE_SHIFT;

    /// Creates a record without loans.
    pub(crate) fn new() -> Self {
        Self {
            pages: Atomic::new(0),
        }
    }

    /// Lends `pages` pages of `reserve` that the caller has allocated. Returns false if that leaves
    /// the kernel too little. Does not sleep.
    fn lend(&self, pages: usize, reserve: usize) -> bool {
        if pages > SMALL_REQUEST || reserve < Self::MIN_RESERVE {
            return false;
        }
        let lent = self.pages.fetch_add(pages, Relaxed).saturating_add(pages);
        let left = reserve / Self::OBJECTS + lent.saturating_mul(Self::COVER);
        if lent <= reserve / Self::SHARE && free_memory::free_pages_suffice(left, Watermark::Min) {
            return true;
        }
        self.end(pages);
        false
    }

    /// Ends the loan of `pages` pages. Does not sleep.
    pub(crate) fn end(&self, pages: usize) {
        self.pages.fetch_sub(pages, Relaxed);
    }
}

/// Ensures that the kernel has free pages left for the small allocations that a new buffer of
/// `request` pages needs. Such an allocation does not fail; it triggers the OOM killer. Returns the
/// number of pages that are lent: `request` or 0.
///
/// Shrinks `pools` before the kernel reclaims, because the kernel does not call the shrinkers while
/// it has a few free pages.
///
/// May sleep. Fails with `ENOMEM` if the reserve cannot be reached, and with `EINTR` on a fatal
/// signal.
pub(crate) fn ensure_reserve(request: usize, pools: &impl Shrink, loans: &Loans) -> Result<usize> {
    let reserve = reserve();
    let mut attempts = 0;
    while !free_memory::free_pages_suffice(reserve, Watermark::High) {
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        if pools.scan(reserve) == 0 && loans.lend(request, reserve) {
            return Ok(request);
        }
        if attempts == MAX_ATTEMPTS {
            return Err(ENOMEM);
        }
        // The kernel raises its watermarks temporarily on fragmentation.
        if attempts > 0 {
            fsleep(RETRY_DELAY);
        }
        reclaim(reserve.min(RECLAIM_BATCH));
        attempts += 1;
    }
    Ok(0)
}

/// Ensures what [`ensure_reserve`] ensures, and lends nothing.
///
/// May sleep. Fails with `ENOMEM` if the reserve cannot be reached, and with `EINTR` on a fatal
/// signal.
pub(crate) fn ensure_whole_reserve(pools: &impl Shrink) -> Result {
    ensure_reserve(usize::MAX, pools, &Loans::new()).map(drop)
}

/// Ensures that a range of `pages` pages can be taken from RAM and leaves the kernel the reserve.
///
/// The range is taken at once, so the memory must be there before: what others allocate meanwhile
/// would trigger the OOM killer. May sleep. Fails with `ENOMEM` if the kernel cannot reclaim as
/// much in a few attempts, and with `EINTR` on a fatal signal.
pub(crate) fn ensure_range(pages: usize, pools: &impl Shrink) -> Result {
    for _ in 0..=MAX_ATTEMPTS {
        if leave_reserve(pages, true) {
            return ensure_whole_reserve(pools);
        }
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        if pools.scan(pages) == 0 {
            reclaim(pages.min(RECLAIM_BATCH));
        }
    }
    Err(ENOMEM)
}

/// Returns whether `pages` free pages can be taken and leave the kernel the reserve. If
/// `with_highmem` is set, highmem counts as free too. Does not sleep.
pub(crate) fn leave_reserve(pages: usize, with_highmem: bool) -> bool {
    let wanted = reserve().saturating_add(pages);
    match with_highmem {
        true => free_memory::pages_suffice_with_highmem(wanted, Watermark::High),
        false => free_memory::free_pages_suffice(wanted, Watermark::High),
    }
}

/// How many times pages have to be spare before they are taken in advance.
pub(crate) const MARGIN: usize = 4;

/// Returns whether nobody misses `pages` pages that are taken in advance, as [`leave_reserve`]
/// counts them. Does not sleep.
pub(crate) fn are_spare(pages: usize, with_highmem: bool) -> bool {
    leave_reserve(pages.saturating_mul(MARGIN), with_highmem)
}

/// Returns whether free pages and the page cache do not suffice for the reserve. Does not sleep.
pub(crate) fn is_short() -> bool {
    !leave_reserve(0, false)
}

/// Returns the reserve, in pages. Does not sleep.
pub(crate) fn reserve() -> usize {
    (free_memory::total_ram() / RESERVE_DIVISOR).min(MAX_RESERVE)
}

/// Makes the kernel reclaim in the background where free pages have become scarce: ranges are taken
/// without the page allocator, which does that otherwise, and allocations that may not wait would
/// fail. May sleep.
pub(crate) fn start_reclaim() {
    for zone in [Zone::Normal, Zone::Dma32] {
        // An allocation looks at the watermarks. The page is freed at once.
        drop(PageRun::allocate(0, zone, Reclaim::Direct));
    }
}

/// Makes the kernel reclaim up to `wanted` pages: allocates them and frees them again.
fn reclaim(wanted: usize) {
    let mut reclaimed = RunList::new(0);
    while reclaimed.runs() < wanted {
        match PageRun::allocate(0, Zone::Normal, Reclaim::Direct) {
            Some(page) => reclaimed.push(page),
            None => return,
        }
    }
}
