// SPDX-License-Identifier: GPL-2.0

//! Room for the kernel's own allocations, which a heap that takes all memory has to leave.

use crate::pages::{self, Effort, PageRun, RunList, Zone};
use kernel::prelude::*;

/// Which part of RAM is left to the kernel, and no more than this many pages. A buffer takes a few objects of a few sizes; for
/// each size of slab, the page allocator moves a thousandth part of RAM or 256 KiB to the lists of the CPU.
const PART: usize = 256;
const MOST: usize = 1024;

/// Sees to it that the kernel has some pages left, for what it takes to make a buffer of pages: small allocations do not fail,
/// the kernel rather kills somebody.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn leave_to_kernel() -> Result {
    let wanted = (pages::total_ram() / PART).min(MOST);
    if pages::free_for_kernel() >= wanted {
        return Ok(());
    }
    // Has the kernel reclaim as many.
    let mut room = RunList::new(0);
    for _ in 0..wanted {
        let page = PageRun::allocate(0, Zone::Kernel, Effort::Reclaim);
        room.push(page.ok_or(ENOMEM)?);
    }
    drop(room);
    if pages::free_for_kernel() >= wanted {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}
