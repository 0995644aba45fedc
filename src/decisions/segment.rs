// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory, in page frames as the kernel allocates them and in bytes as firmware
//! describes them.

use core::iter;
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// A physically contiguous range of page frames.
///
/// # Examples
///
/// ```
/// use crate::decisions::segment::Segment;
/// use kernel::page::PAGE_SIZE;
///
/// let segment = Segment { pfn: 3, pages: 5 };
/// assert_eq!(segment.address(), 3 * PAGE_SIZE as u64);
/// assert_eq!(segment.bytes(), 5 * PAGE_SIZE);
/// assert!(segment.chunks(2).map(|chunk| chunk.pages).eq([2, 2, 1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The first page frame number.
    pub(crate) pfn: usize,
    /// The number of pages.
    pub(crate) pages: usize,
}

impl Segment {
    /// Returns the physical address of the first byte.
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        (self.pfn as u64) << PAGE_SHIFT
    }

    /// Returns the size in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.pages << PAGE_SHIFT
    }

    /// Returns the segment without its first `pages` pages, or `None` if no page remains.
    #[inline]
    pub(crate) fn skip(&self, pages: usize) -> Option<Self> {
        let left = self.pages.checked_sub(pages)?;
        (left > 0).then_some(Self {
            pfn: self.pfn + pages,
            pages: left,
        })
    }

    /// Returns the segment limited to its first `pages` pages.
    #[inline]
    pub(crate) fn truncate(&self, pages: usize) -> Self {
        Self {
            pfn: self.pfn,
            pages: self.pages.min(pages),
        }
    }

    /// Splits the segment into chunks of at most `max_pages` pages, in order. A limit of 0
    /// counts as 1.
    #[inline]
    pub(crate) fn chunks(self, max_pages: usize) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        iter::from_fn(move || {
            let left = rest?;
            let chunk = left.truncate(max_pages.max(1));
            rest = left.skip(chunk.pages);
            Some(chunk)
        })
    }
}

/// A range of bytes of physical memory.
///
/// # Examples
///
/// ```
/// use crate::decisions::segment::{Extent, Segment};
/// use kernel::page::PAGE_SIZE;
///
/// let page = PAGE_SIZE as u64;
/// let extent = Extent { base: page + 1, size: 2 * page };
/// assert_eq!(extent.whole_pages(), Ok(Segment { pfn: 2, pages: 1 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The physical address of the first byte.
    pub(crate) base: u64,
    /// The size in bytes.
    pub(crate) size: u64,
}

impl Extent {
    /// Returns whether the ranges have a common byte.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.base < other.base.saturating_add(other.size)
            && other.base < self.base.saturating_add(self.size)
    }

    /// Returns whether the byte at `address` belongs to the range.
    pub(crate) fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.base)
            .is_some_and(|offset| offset < self.size)
    }

    /// Returns whether every byte belongs to a range that `find` returns for its address.
    ///
    /// `find` is called once for each of these ranges. A range beyond the end of the address space
    /// is not covered.
    pub(crate) fn is_covered(&self, mut find: impl FnMut(u64) -> Option<Extent>) -> bool {
        let Some(end) = self.base.checked_add(self.size) else {
            return false;
        };
        let mut next = self.base;
        while next < end {
            match find(next).filter(|found| found.contains(next)) {
                Some(found) => next = found.base.saturating_add(found.size),
                None => return false,
            }
        }
        true
    }

    /// Returns the whole pages inside the range. Fails with `EINVAL` if there are none.
    pub(crate) fn whole_pages(&self) -> Result<Segment> {
        let end = self.base.checked_add(self.size).ok_or(EINVAL)? >> PAGE_SHIFT;
        let pfn = self.base.div_ceil(PAGE_SIZE as u64);
        let pages = end.checked_sub(pfn).filter(|pages| *pages > 0);
        Ok(Segment {
            pfn: usize::try_from(pfn).map_err(|_| EINVAL)?,
            pages: usize::try_from(pages.ok_or(EINVAL)?).map_err(|_| EINVAL)?,
        })
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_segment)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn parts_make_up_the_whole() {
        for pages in 0..20 {
            let whole = Segment { pfn: 7, pages };
            let (mut next, mut sum) = (7, 0);
            for chunk in whole.chunks(4) {
                assert_eq!(chunk.pfn, next);
                assert!((1..=4).contains(&chunk.pages) || pages == 0);
                next += chunk.pages;
                sum += chunk.pages;
            }
            assert_eq!(sum, pages);
        }
    }

    #[test]
    fn nothing_is_left_behind_the_end() {
        let segment = Segment { pfn: 3, pages: 5 };
        assert_eq!(segment.skip(5), None);
        assert_eq!(segment.skip(6), None);
        assert_eq!(segment.skip(4), Some(Segment { pfn: 7, pages: 1 }));
    }

    #[test]
    fn only_whole_pages_count() {
        let pages = |base, size| Extent { base, size }.whole_pages();
        assert_eq!(pages(PAGE, PAGE), Ok(Segment { pfn: 1, pages: 1 }));
        assert_eq!(pages(PAGE - 1, PAGE + 1), Ok(Segment { pfn: 1, pages: 1 }));
        assert_eq!(pages(1, 2 * PAGE), Ok(Segment { pfn: 1, pages: 1 }));
        assert_eq!(pages(1, 2 * PAGE - 2), Err(EINVAL));
        assert_eq!(pages(PAGE, 0), Err(EINVAL));
        assert_eq!(pages(u64::MAX - 1, 2), Err(EINVAL));
        assert_eq!(pages(u64::MAX, u64::MAX), Err(EINVAL));
    }

    #[test]
    fn what_touches_does_not_overlap() {
        let extent = |base, size| Extent { base, size };
        assert!(!extent(0, 10).overlaps(&extent(10, 10)));
        assert!(!extent(10, 10).overlaps(&extent(0, 10)));
        assert!(extent(0, 11).overlaps(&extent(10, 10)));
        assert!(extent(12, 1).overlaps(&extent(10, 10)));
        assert!(extent(10, 10).overlaps(&extent(12, 1)));
        assert!(extent(u64::MAX - 1, 9).overlaps(&extent(1, u64::MAX)));
    }

    #[test]
    fn adjacent_ranges_cover_together() {
        let banks = [(0, 10), (20, 10), (10, 5), (u64::MAX - 9, u64::MAX)];
        let covered = |base, size| {
            Extent { base, size }.is_covered(|address| {
                let mut banks = banks.map(|(base, size)| Extent { base, size }).into_iter();
                banks.find(|bank| bank.contains(address))
            })
        };
        assert!(covered(0, 15) && covered(9, 6) && covered(20, 10));
        assert!(covered(u64::MAX - 9, 9));
        assert!(!covered(14, 2) && !covered(0, 30) && !covered(19, 2) && !covered(29, 2));
        assert!(!covered(u64::MAX - 9, 10));
        // A wrong answer ends the search.
        assert!(!Extent { base: 5, size: 5 }.is_covered(|_| Some(Extent { base: 0, size: 5 })));
    }
}
