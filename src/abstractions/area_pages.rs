// SPDX-License-Identifier: GPL-2.0

//! The pages of a contiguous memory area, and their present use.
//!
//! The kernel does not export which pages of an area are allocated, and `cma_alloc()` reports only
//! at the end that pages could not be migrated. The state of each page shows both beforehand. It
//! may change at any time, so it is a basis for estimates only.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/swap.h`](srctree/include/linux/swap.h)

use crate::{
    abstractions::kernel_symbol,
    bindings as c,
    decisions::{
        area_survey::PageUse,
        segment::Segment, //
    }, //
};
use core::iter;

/// The function that empties the CPUs' batches of pages for the LRU lists.
///
/// A page in such a batch has a reference more than its users account for. The kernel does not
/// export the function, so it is found by name.
///
/// # Invariants
///
/// If `is_found` is true, `lru_add_drain_all()` was found.
#[derive(Clone, Copy)]
pub(crate) struct BatchDrain {
    is_found: bool,
}

impl BatchDrain {
    /// Looks up the function. May sleep.
    pub(crate) fn new() -> Self {
        let found = kernel_symbol::lookup(c"lru_add_drain_all");
        if let Some(address) = found {
            // SAFETY: This is the function's address.
            unsafe { c::found_lru_add_drain_all(address.as_ptr()) };
        }
        // INVARIANT: The function was found by this name.
        Self {
            is_found: found.is_some(),
        }
    }

    /// Makes pages that are only in the CPUs' batches movable. May sleep.
    pub(crate) fn drain(&self) {
        if self.is_found {
            // SAFETY: By the type invariants the function was found. Process context may call it.
            unsafe { c::lru_add_drain_all() };
        }
    }
}

/// The pages of an area.
///
/// # Invariants
///
/// `frames` are page frames of a contiguous memory area, so they have a `struct page`.
#[derive(Clone, Copy)]
pub(crate) struct AreaPages {
    frames: Segment,
    drain: BatchDrain,
}

impl AreaPages {
    /// Wraps `frames`.
    ///
    /// # Safety
    ///
    /// `frames` must be page frames of a contiguous memory area.
    pub(crate) unsafe fn new(frames: Segment, drain: BatchDrain) -> Self {
        // INVARIANT: By the safety requirements.
        Self { frames, drain }
    }

    /// Returns the first page frame number.
    pub(crate) fn first(&self) -> usize {
        self.frames.pfn
    }

    /// Returns the number of pages.
    pub(crate) fn count(&self) -> usize {
        self.frames.pages
    }

    /// Makes pages that are only in the CPUs' batches for the LRU lists movable. May sleep.
    pub(crate) fn drain_batches(&self) {
        self.drain.drain();
    }

    /// Returns the page frames.
    pub(crate) fn frames(&self) -> Segment {
        self.frames
    }

    /// Returns an iterator over the uses of the pages, and over how many pages each extends.
    ///
    /// The uses are exact as far as they concern ranges of `wanted` pages: a gap between allocated
    /// pages that is smaller may be left out. May sleep.
    pub(crate) fn uses(&self, wanted: usize) -> impl Iterator<Item = (PageUse, usize)> {
        let mut rest = Some(self.frames);
        iter::from_fn(move || {
            let frames = rest?;
            let (end, mut count) = (frames.pfn + frames.pages, 0);
            // SAFETY: By the type invariants the page frames up to `end` have a `struct page`.
            let usage = unsafe { c::page_use(frames.pfn, end, wanted, &mut count) };
            // A free block or a folio may extend beyond the area.
            let part = frames.truncate(count.max(1));
            rest = frames.skip(part.pages);
            let usage = match usage {
                c::rk_dma_heap_page_use_RK_PAGE_PINNED => PageUse::Pinned,
                c::rk_dma_heap_page_use_RK_PAGE_ALLOCATED => PageUse::Allocated,
                // Free pages of an area are not told apart.
                _ => PageUse::Movable,
            };
            Some((usage, part.pages))
        })
    }
}
