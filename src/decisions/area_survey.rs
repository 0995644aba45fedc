// SPDX-License-Identifier: GPL-2.0

//! The choice of an alignment for a range of a contiguous memory area.
//!
//! `cma_alloc()` takes an alignment, not an address. It tries all aligned positions whose pages no
//! other range has, lowest first. If a page at a position cannot be migrated, it has isolated and
//! migrated in vain, which takes milliseconds, and tries the next one. A [`Survey`] predicts for
//! each alignment how many positions are busy before one that succeeds, and how many ranges fit.

use core::ops::RangeInclusive;

/// The number of orders that a survey covers. It is larger than the order of any huge page.
const ORDERS: usize = 16;

/// The largest number of busy positions for a range that has no position at the kernel's alignment.
const MAX_BUSY: usize = 16;

/// The use of page frames, as far as it concerns an allocation of their area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageUse {
    /// Free, or in use and movable.
    Movable,
    /// In use and referenced by others, so that migration fails.
    Pinned,
    /// Part of another range.
    Allocated,
}

/// The positions of ranges at multiples of a power of two pages.
#[derive(Clone, Copy, Default)]
struct Positions {
    /// Whether a range fits without a pinned page.
    found: bool,
    /// The number of positions with a pinned page before the first one without.
    busy: usize,
    /// The number of ranges that fit if each takes the first position.
    capacity: usize,
}

/// A survey of an area for a range, one page frame after the other.
///
/// # Examples
///
/// ```
/// use crate::decisions::area_survey::{PageUse, Survey};
///
/// // A page is pinned at the beginning of an area of 32 pages.
/// let mut survey = Survey::new(0, 16, 0..=4);
/// survey.add(PageUse::Pinned, 1);
/// survey.add(PageUse::Movable, 31);
/// assert_eq!(survey.finish().packed_order(4), 0);
///
/// // Of all positions one is free, and fifteen are busy before it.
/// let mut survey = Survey::new(0, 16, 0..=4);
/// survey.add(PageUse::Movable, 15);
/// survey.add(PageUse::Pinned, 1);
/// survey.add(PageUse::Movable, 16);
/// assert_eq!(survey.finish().packed_order(4), 3);
/// ```
pub(crate) struct Survey {
    /// The size of the range in pages.
    pages: usize,
    /// The surveyed orders.
    orders: RangeInclusive<u32>,
    positions: [Positions; ORDERS],
    /// The page frame number after the last page.
    next: usize,
    /// The page frame number after the last allocated page.
    gap: usize,
    /// The page frame number after the last page that is not movable.
    movable: usize,
    /// Whether there is a pinned page.
    pinned: bool,
}

impl Survey {
    /// Begins a survey at the page frame number `pfn` for ranges of `pages` pages, which is not 0,
    /// at multiples of `2^order` pages for each order of `orders`.
    pub(crate) fn new(pfn: usize, pages: usize, orders: RangeInclusive<u32>) -> Self {
        Self {
            pages,
            orders,
            positions: [Positions::default(); ORDERS],
            next: pfn,
            gap: pfn,
            movable: pfn,
            pinned: false,
        }
    }

    /// Adds the next `pages` page frames.
    pub(crate) fn add(&mut self, usage: PageUse, pages: usize) {
        match usage {
            PageUse::Movable => self.next += pages,
            PageUse::Pinned => {
                self.end_movable();
                self.next += pages;
                self.movable = self.next;
                self.pinned = true;
            }
            PageUse::Allocated => {
                self.end_gap();
                self.next += pages;
                (self.gap, self.movable) = (self.next, self.next);
            }
        }
    }

    /// Returns whether the lowest position is known, and is not busy.
    pub(crate) fn is_first_free(&self) -> bool {
        !self.pinned && self.next - self.movable >= self.pages
    }

    /// Completes the survey at the end of the area.
    pub(crate) fn finish(mut self) -> Self {
        self.end_gap();
        self
    }

    /// Returns the lowest order at which `cma_alloc()` makes at most twice as many attempts as at
    /// the cheapest order from `aligned` on. With order 0 the range is placed by first fit.
    pub(crate) fn packed_order(&self, aligned: u32) -> u32 {
        let found = |order: &u32| self.at(*order).found;
        let cheapest = (aligned..=*self.orders.end())
            .filter(found)
            .map(|order| self.at(order).busy)
            .min();
        // The attempt that succeeds counts as well.
        let limit = cheapest.map_or(MAX_BUSY, |busy| 2 * busy + 1);
        let mut cheap = self.orders.clone().filter(found);
        let first = cheap.find(|order| self.at(*order).busy <= limit);
        // Pages may be pinned for a moment only, so a few busy positions are tried if there are no
        // others.
        let few = |order: &u32| (1..=MAX_BUSY).contains(&self.at(*order).busy);
        first
            .or_else(|| self.orders.clone().find(few))
            .unwrap_or(if self.pinned {
                aligned
            } else {
                *self.orders.start()
            })
    }

    /// Returns the highest order, if as many ranges fit as at the lowest one, or else the lowest.
    pub(crate) fn aligned_order(&self) -> u32 {
        let (low, high) = (*self.orders.start(), *self.orders.end());
        let capacity = self.at(high).capacity;
        if capacity > 0 && capacity >= self.at(low).capacity {
            high
        } else {
            low
        }
    }

    fn at(&self, order: u32) -> Positions {
        self.positions
            .get(order as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Ends a run of movable pages, which begins at `movable`.
    fn end_movable(&mut self) {
        if self.next - self.movable < self.pages {
            return;
        }
        for (order, positions) in (0..).zip(&mut self.positions) {
            let first = self.movable.next_multiple_of(1 << order);
            let left = self.next.saturating_sub(first);
            if !self.orders.contains(&order) || left < self.pages {
                continue;
            }
            if !positions.found {
                positions.found = true;
                positions.busy += multiples(order, self.gap, first);
            }
            let stride = self.pages.next_multiple_of(1 << order);
            positions.capacity += (left - self.pages) / stride + 1;
        }
    }

    /// Ends a run of pages that are not allocated, which begins at `gap`.
    fn end_gap(&mut self) {
        self.end_movable();
        if self.next - self.gap < self.pages {
            return;
        }
        let end = self.next - self.pages + 1;
        for (order, positions) in (0..).zip(&mut self.positions) {
            if self.orders.contains(&order) && !positions.found {
                positions.busy += multiples(order, self.gap, end);
            }
        }
    }
}

/// Returns the number of multiples of `2^order` from `start` up to, but not including, `end`.
fn multiples(order: u32, start: usize, end: usize) -> usize {
    end.div_ceil(1 << order)
        .saturating_sub(start.div_ceil(1 << order))
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_area_survey)]
mod tests {
    use super::*;

    /// Surveys an area from page frame 64, with a letter per page.
    fn survey(area: &[u8], pages: usize, orders: RangeInclusive<u32>) -> Survey {
        let mut survey = Survey::new(64, pages, orders);
        for page in area {
            let usage = match page {
                b'.' => PageUse::Movable,
                b'p' => PageUse::Pinned,
                _ => PageUse::Allocated,
            };
            survey.add(usage, 1);
        }
        survey.finish()
    }

    #[test]
    fn an_area_without_pinned_pages_is_packed() {
        assert_eq!(survey(b"a.......", 4, 0..=2).packed_order(2), 0);
        assert_eq!(survey(b"aaaaaaaa", 4, 0..=2).packed_order(2), 0);
        assert_eq!(survey(b"........", 9, 0..=3).packed_order(3), 0);
    }

    #[test]
    fn pinned_pages_raise_the_order() {
        // Behind the first position they do not matter.
        assert_eq!(survey(b"....p...", 4, 0..=2).packed_order(2), 0);
        // Aligned to 4 pages, one position is busy, so up to three may be.
        assert_eq!(survey(b"..p.........", 4, 0..=2).packed_order(2), 0);
        assert_eq!(survey(b"...p........", 4, 0..=2).packed_order(2), 1);
        // Aligned to 8 pages, none is busy.
        assert_eq!(survey(b"aaaap...........", 4, 0..=3).packed_order(2), 0);
        assert_eq!(survey(b"aaaa..p.........", 4, 0..=3).packed_order(2), 2);
        // No position is free, and nine are busy.
        assert_eq!(survey(b"..p...p...p.", 4, 0..=2).packed_order(2), 0);
        // None at the highest alignment.
        assert_eq!(survey(b"..p....p", 4, 0..=2).packed_order(2), 0);
    }

    #[test]
    fn alignment_costs_no_range() {
        assert_eq!(survey(b"................", 4, 1..=2).aligned_order(), 2);
        assert_eq!(survey(b"................", 6, 1..=3).aligned_order(), 3);
        assert_eq!(survey(b"................", 5, 1..=3).aligned_order(), 3);
        assert_eq!(
            survey(b"........................", 6, 1..=3).aligned_order(),
            1
        );
        assert_eq!(survey(b"aa............aa", 4, 1..=2).aligned_order(), 1);
        assert_eq!(survey(b"aa............aa", 16, 1..=2).aligned_order(), 1);
    }
}
