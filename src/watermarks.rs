// SPDX-License-Identifier: GPL-2.0

//! A reserve of free pages that the system heaps leave to the kernel's own allocations.

use crate::abstractions::{
    pages::{
        self,
        PageRun,
        Reclaim,
        RunList,
        Watermark,
        Zone, //
    },
    shrinker::Shrink,
    signal,
    task, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The size of a small request, in pages: 1 MiB.
const SMALL_REQUEST: usize = (1 << 20) >> PAGE_SHIFT;

/// The reserve as a divisor of RAM, if that is less than the limits below.
///
/// A buffer takes several slab objects. Each slab refill may move a batch of pages, up to a
/// thousandth of RAM or 256 KiB, to the per-CPU lists.
const RESERVE_DIVISOR: usize = 64;

/// The limit of the reserve for small requests, in pages: 4 MiB.
///
/// It is above what the page allocator may raise its watermark min to. A machine whose reserve is
/// not larger than this, with up to 256 MiB of RAM, has the same reserve for all requests: there
/// that is more than what small ones could gain.
const SMALL_RESERVE_LIMIT: usize = (4 << 20) >> PAGE_SHIFT;

/// The limit of the reserve for large requests, in pages: 16 MiB.
const RESERVE_LIMIT: usize = (16 << 20) >> PAGE_SHIFT;

/// How often direct reclaim is tried. Other tasks may allocate what it reclaimed.
const MAX_ATTEMPTS: usize = 10;

/// The delay between two attempts.
const RETRY_DELAY: Delta = Delta::from_millis(5);

/// The largest number of pages to reclaim per attempt: 4 MiB.
const RECLAIM_BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// The free pages that a request must leave to the kernel.
struct Reserve {
    pages: usize,
    above: Watermark,
}

impl Reserve {
    /// Returns the reserve for a request of `request` pages.
    ///
    /// A small buffer may use what the kernel's ordinary allocations may use, except for the pages
    /// that the next of these need. A larger one leaves as many pages as it takes, up to a limit,
    /// where the kernel does not yet reclaim: it is refused before others have to wait.
    fn after(request: usize) -> Self {
        let share = (pages::total_ram() / RESERVE_DIVISOR).min(RESERVE_LIMIT);
        if request <= SMALL_REQUEST && share > SMALL_RESERVE_LIMIT {
            return Self {
                pages: SMALL_RESERVE_LIMIT,
                above: Watermark::Min,
            };
        }
        Self {
            pages: share.min(request.max(SMALL_RESERVE_LIMIT)),
            above: Watermark::High,
        }
    }

    fn is_left(&self) -> bool {
        pages::free_pages_suffice(self.pages, self.above)
    }
}

/// Returns whether memory for `missing` more pages can exist at all. Does not sleep.
pub(crate) fn can_exist(missing: usize, pools: &impl Shrink) -> bool {
    missing <= SMALL_REQUEST || missing <= pages::obtainable_pages() + pools.count()
}

/// Ensures that a request of `request` pages leaves free pages to the kernel, for the small
/// allocations that a new buffer needs. Such an allocation does not fail; it triggers the OOM
/// killer.
///
/// Shrinks `pools` before the kernel reclaims, because the kernel does not call the shrinkers while
/// it has a few free pages.
///
/// May sleep. Fails with `ENOMEM` if the reserve cannot be reached, and with `EINTR` on a fatal
/// signal.
pub(crate) fn ensure_reserve(request: usize, pools: &impl Shrink) -> Result {
    let reserve = Reserve::after(request);
    // Other tasks may refill the pools meanwhile.
    let mut pooled = pools.count();
    let mut attempts = 0;
    while !reserve.is_left() {
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        if pooled > 0 {
            let freed = pools.scan(reserve.pages);
            pooled = if freed > 0 {
                pooled.saturating_sub(freed)
            } else {
                0
            };
            task::reschedule();
            continue;
        }
        if attempts == MAX_ATTEMPTS {
            return Err(ENOMEM);
        }
        // The kernel raises its watermarks temporarily on fragmentation.
        if attempts > 0 {
            fsleep(RETRY_DELAY);
        }
        reclaim(reserve.pages.min(RECLAIM_BATCH));
        attempts += 1;
    }
    Ok(())
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
