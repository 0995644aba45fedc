// SPDX-License-Identifier: GPL-2.0

//! Free memory, as the page allocator counts it.
//!
//! C header: [`include/linux/vmstat.h`](srctree/include/linux/vmstat.h)
//!
//! # Examples
//!
//! ```
//! use crate::abstractions::free_memory;
//!
//! assert!(free_memory::free_pages_suffice(0));
//! assert!(!free_memory::free_pages_suffice(free_memory::total_ram() + 1));
//! assert!(free_memory::obtainable_pages() > 0);
//! ```

use crate::bindings as c;

/// Returns the RAM that the page allocator manages, in pages.
pub(crate) fn total_ram() -> usize {
    // SAFETY: The function reads a counter and has no requirements.
    unsafe { c::totalram_pages() }
}

/// Returns whether the page allocator has `wanted` pages above the watermark high, without highmem,
/// among free pages and the page cache.
///
/// Does not sleep.
pub(crate) fn free_pages_suffice(wanted: usize) -> bool {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::free_pages_suffice(wanted) }
}

/// Returns an upper limit for the pages that can be allocated: those that are free or that the
/// kernel can reclaim, except in areas for contiguous memory and in page pools.
///
/// Does not sleep.
pub(crate) fn obtainable_pages() -> usize {
    // SAFETY: The function reads counters and has no requirements.
    unsafe { c::obtainable_pages() }
}
