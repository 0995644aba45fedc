// SPDX-License-Identifier: GPL-2.0

//! Ranges of physical memory: in pages, as the kernel hands them out, and in bytes, as firmware
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
/// assert!(segment.parts(2).map(|part| part.pages).eq([2, 2, 1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of the first page frame.
    pub(crate) pfn: usize,
    /// The number of pages.
    pub(crate) pages: usize,
}

impl Segment {
    /// The physical address of the first byte.
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        (self.pfn as u64) << PAGE_SHIFT
    }

    /// The size in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.pages << PAGE_SHIFT
    }

    /// The segment without its first `pages` pages; `None` where nothing is left.
    #[inline]
    pub(crate) fn skip(&self, pages: usize) -> Option<Self> {
        let left = self.pages.checked_sub(pages)?;
        (left > 0).then_some(Self {
            pfn: self.pfn + pages,
            pages: left,
        })
    }

    /// The segment cut to at most `pages` pages.
    #[inline]
    pub(crate) fn truncate(&self, pages: usize) -> Self {
        Self {
            pfn: self.pfn,
            pages: self.pages.min(pages),
        }
    }

    /// The segment in parts of at most `most` pages, in order; single pages where that is 0.
    #[inline]
    pub(crate) fn parts(self, most: usize) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        iter::from_fn(move || {
            let left = rest?;
            let part = left.truncate(most.max(1));
            rest = left.skip(part.pages);
            Some(part)
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
    /// The physical address of its first byte.
    pub(crate) base: u64,
    /// Its size.
    pub(crate) size: u64,
}

impl Extent {
    /// Whether any byte belongs to both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.base < other.base.saturating_add(other.size)
            && other.base < self.base.saturating_add(self.size)
    }

    /// The whole pages in it. Fails with `EINVAL` where there is not a single one.
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
            for part in whole.parts(4) {
                assert_eq!(part.pfn, next);
                assert!((1..=4).contains(&part.pages) || pages == 0);
                next += part.pages;
                sum += part.pages;
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
}
