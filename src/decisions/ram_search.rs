// SPDX-License-Identifier: GPL-2.0

//! The search for a contiguous range among page frames that others use too.

/// A search for the lowest range of page frames that are all usable, at a multiple of a power of
/// two.
///
/// The owner looks at the page frame [`RangeSearch::next`] and adds what it finds, until
/// [`RangeSearch::found`] returns a range or the page frames end. After an obstacle the search goes
/// on at the next aligned page frame, so not all page frames are looked at.
///
/// # Examples
///
/// ```
/// use crate::decisions::ram_search::RangeSearch;
///
/// let mut search = RangeSearch::new(1, 4, 2);
/// assert_eq!(search.next(), 4);
/// search.add(true, 3);
/// search.add(false, 1);
/// assert_eq!(search.next(), 8);
/// search.add(true, 4);
/// assert_eq!(search.found(), Some(8));
/// ```
pub(crate) struct RangeSearch {
    /// The size of the range in pages.
    pages: usize,
    /// The range begins at a multiple of this number of pages.
    alignment: usize,
    /// The first page frame of the range, if no obstacle follows.
    start: usize,
    /// The page frame after the last usable one.
    next: usize,
}

impl RangeSearch {
    /// Begins a search from the page frame number `pfn` on for a range of `pages` pages at a
    /// multiple of `2^order` pages. An order that is too large finds nothing.
    pub(crate) fn new(pfn: usize, pages: usize, order: u32) -> Self {
        let mut this = Self {
            pages,
            alignment: 1usize.checked_shl(order).unwrap_or(usize::MAX),
            start: 0,
            next: 0,
        };
        this.restart(pfn);
        this
    }

    /// Returns the page frame number to look at next.
    pub(crate) fn next(&self) -> usize {
        self.next
    }

    /// Adds the next `pages` page frames, at least one: they are usable or in the way.
    pub(crate) fn add(&mut self, usable: bool, pages: usize) {
        let end = self.next.saturating_add(pages.max(1));
        if usable {
            self.next = end;
        } else {
            self.restart(end);
        }
    }

    /// Returns the first page frame number of the range, if all of it is usable.
    pub(crate) fn found(&self) -> Option<usize> {
        (self.next - self.start >= self.pages).then_some(self.start)
    }

    /// Returns whether the range may lie below the page frame number `end`.
    pub(crate) fn fits_below(&self, end: usize) -> bool {
        let last = self.start.checked_add(self.pages);
        last.is_some_and(|last| last <= end)
    }

    /// Goes on at the first aligned page frame from `pfn` on.
    fn restart(&mut self, pfn: usize) {
        let aligned = pfn.checked_next_multiple_of(self.alignment);
        self.start = aligned.unwrap_or(usize::MAX);
        self.next = self.start;
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_ram_search)]
mod tests {
    use super::*;

    /// Searches page frames from 0 on, with a letter per page.
    fn find(frames: &[u8], pages: usize, order: u32) -> Option<usize> {
        let mut search = RangeSearch::new(0, pages, order);
        while search.fits_below(frames.len()) {
            if let Some(pfn) = search.found() {
                return Some(pfn);
            }
            let usable = frames
                .get(search.next())
                .is_some_and(|frame| *frame == b'.');
            search.add(usable, 1);
        }
        None
    }

    #[test]
    fn the_lowest_aligned_range_is_found() {
        assert_eq!(find(b"....", 4, 0), Some(0));
        assert_eq!(find(b"x....", 4, 0), Some(1));
        assert_eq!(find(b"x....", 4, 1), None);
        assert_eq!(find(b"x.....", 4, 1), Some(2));
        assert_eq!(find(b"..x...x.x........", 5, 2), Some(12));
        assert_eq!(find(b"...x", 4, 0), None);
    }

    #[test]
    fn nothing_wraps() {
        assert!(!RangeSearch::new(usize::MAX, 1, 4).fits_below(usize::MAX));
        assert!(!RangeSearch::new(1, 1, 200).fits_below(1 << 20));
        let mut search = RangeSearch::new(0, usize::MAX, 0);
        search.add(true, usize::MAX);
        search.add(true, usize::MAX);
        assert_eq!(search.found(), Some(0));
    }
}
