// SPDX-License-Identifier: GPL-2.0

//! Free memory, as the page allocator counts it.
//!
//! C header: [`include/linux/vmstat.h`](srctree/include/linux/vmstat.h)
//!
//! # Examples
//!
//! ```
//! use crate::abstractions::free_memory::{self, Watermark};
//!
//! assert!(free_memory::free_pages_suffice(0, Watermark::High));
//! assert!(!free_memory::free_pages_suffice(free_memory::total_ram() + 1, Watermark::Min));
//! assert!(free_memory::obtainable_pages() > 0);
//! assert!(free_memory::ram_below_4g() <= free_memory::total_ram());
//! ```

use crate::bindings as c;

/// Returns the RAM that the page allocator manages, in pages.
pub(crate) fn total_ram() -> usize {
    // SAFETY: The function reads a counter and has no requirements.
    unsafe { c::totalram_pages() }
}

/// Returns how much of that is below 4 GiB. Of a zone that is partly above, all that fits is taken
/// to be below.
pub(crate) fn ram_below_4g() -> usize {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::ram_pages_below_4g() }
}

/// A level of free memory at which the page allocator acts. It raises all levels for a while on
/// fragmentation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watermark {
    /// Below it, ordinary allocations reclaim, and trigger the OOM killer if that is in vain. The
    /// present value counts.
    Min,
    /// Below it, the kernel reclaims in the background. Includes a page block, by which it may be
    /// raised at any moment.
    High,
}

/// Returns whether the page allocator has `wanted` pages above a watermark, without highmem, among
/// free pages and the page cache.
///
/// Does not sleep.
pub(crate) fn free_pages_suffice(wanted: usize, above: Watermark) -> bool {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::free_pages_suffice(wanted, above == Watermark::High, false) }
}

/// Returns what [`free_pages_suffice`] returns, with highmem.
///
/// Does not sleep.
pub(crate) fn pages_suffice_with_highmem(wanted: usize, above: Watermark) -> bool {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::free_pages_suffice(wanted, above == Watermark::High, true) }
}

/// Returns an upper limit for the pages that can be allocated: those that are free or that the
/// kernel can reclaim, except in areas for contiguous memory and in page pools.
///
/// Does not sleep.
pub(crate) fn obtainable_pages() -> usize {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::obtainable_pages() }
}

/// Returns the pages that the shrinkers of caches of pages can free. What changed in the last
/// moments is not counted.
///
/// Does not sleep.
pub(crate) fn kept_pages() -> usize {
    // SAFETY: The function reads a counter and has no requirements.
    unsafe { c::kept_pages() }
}
