// SPDX-License-Identifier: GPL-2.0

//! A reserve of free pages that the system heaps leave to the kernel's own allocations.

use crate::abstractions::{
    free_memory,
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
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The size of a small request, in pages: 1 MiB.
const SMALL_REQUEST: usize = (1 << 20) >> PAGE_SHIFT;

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
    missing <= SMALL_REQUEST || missing <= free_memory::obtainable_pages() + pools.count()
}

/// Ensures that the kernel has free pages left for the small allocations that a new buffer needs.
/// Such an allocation does not fail; it triggers the OOM killer.
///
/// Shrinks `pools` before the kernel reclaims, because the kernel does not call the shrinkers while
/// it has a few free pages.
///
/// May sleep. Fails with `ENOMEM` if the reserve cannot be reached, and with `EINTR` on a fatal
/// signal.
pub(crate) fn ensure_reserve(pools: &impl Shrink) -> Result {
    let reserve = (free_memory::total_ram() / RESERVE_DIVISOR).min(MAX_RESERVE);
    let mut attempts = 0;
    while !free_memory::free_pages_suffice(reserve) {
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        if attempts == MAX_ATTEMPTS {
            return Err(ENOMEM);
        }
        // The kernel raises its watermarks temporarily on fragmentation.
        if attempts > 0 {
            fsleep(RETRY_DELAY);
        }
        pools.scan(reserve);
        reclaim(reserve.min(RECLAIM_BATCH));
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
