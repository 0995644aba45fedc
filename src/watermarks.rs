// SPDX-License-Identifier: GPL-2.0

//! Room for the kernel's own allocations, which a heap that takes all memory has to leave.

use crate::abstractions::{
    pages::{
        self,
        PageRun,
        Reclaim,
        RunList,
        Zone, //
    },
    shrinker::Shrink,
    signal, //
};
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Which part of RAM is left to the kernel above its high watermark, and no more than this many
/// pages. A buffer takes a few objects of a few sizes; for each size of slab, the page allocator
/// moves a thousandth part of RAM or 256 KiB to the lists of the CPU; and where memory got
/// fragmented, it raises all its watermarks for a while.
const PART: usize = 64;
const MOST: usize = 4096;

/// How often the kernel is asked to reclaim, and the pause before it is asked again: others may
/// take what it reclaimed.
const ATTEMPTS: usize = 10;
const PAUSE: Delta = Delta::from_millis(5);

/// How many pages it is asked for at a time.
const AT_ONCE: usize = 1024;

/// Sees to it that the kernel has some pages left, for what it takes to make a buffer of pages:
/// small allocations do not fail, the kernel rather kills somebody.
///
/// What heaps keep for later, `kept`, is given back before the kernel reclaims, which leaves it
/// alone while it has a little free.
///
/// May sleep. Fails with `ENOMEM`, and with `EINTR` where a fatal signal came first.
pub(crate) fn ensure_reserve(kept: &impl Shrink) -> Result {
    let wanted = (pages::total_ram() / PART).min(MOST);
    let mut attempts = 0;
    while !pages::free_pages_suffice(wanted) {
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        if attempts == ATTEMPTS {
            return Err(ENOMEM);
        }
        // The kernel raises its reserve for a moment where memory got fragmented.
        if attempts > 0 {
            fsleep(PAUSE);
        }
        kept.scan(wanted);
        reclaim(wanted.min(AT_ONCE));
        attempts += 1;
    }
    Ok(())
}

/// Has the kernel reclaim as many pages, if it can.
fn reclaim(wanted: usize) {
    let mut reclaimed = RunList::new(0);
    while reclaimed.runs() < wanted {
        match PageRun::allocate(0, Zone::Kernel, Reclaim::Direct) {
            Some(page) => reclaimed.push(page),
            None => return,
        }
    }
}
