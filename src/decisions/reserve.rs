// SPDX-License-Identifier: GPL-2.0

//! The decisions of a reserve of contiguous memory: when it is filled, in which pieces, and which
//! piece a request is cut from.

use crate::decisions::segment::Segment;
use kernel::page::PAGE_SHIFT;

/// The size of the largest piece that is searched for, in pages: 32 MiB.
const LARGEST_PIECE: usize = (32 << 20) >> PAGE_SHIFT;

/// The longest delay, in milliseconds.
const LONGEST_DELAY: u32 = 30_000;

/// The sizes between which a reserve is.
///
/// # Examples
///
/// ```
/// use crate::decisions::reserve::Marks;
///
/// let marks = Marks::new(1024);
/// assert!(marks.missing(false, 800).is_none());
/// assert_eq!(marks.missing(false, 700), Some(324));
/// assert_eq!(marks.missing(true, 800), Some(224));
/// ```
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// The number of pages of a full reserve.
    pub(crate) high: usize,
    /// The number of pages below which a reserve is filled: three quarters.
    pub(crate) low: usize,
}

impl Marks {
    /// Returns the marks of a reserve of `pages` pages.
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            high: pages,
            low: pages - pages / 4,
        }
    }

    /// Returns the number of pages that a reserve of `pages` pages lacks if it has to be filled. If
    /// it is being filled, that is up to the high mark.
    pub(crate) fn missing(&self, is_filling: bool, pages: usize) -> Option<usize> {
        let missing = self.high.saturating_sub(pages);
        (missing > 0 && (is_filling || pages < self.low)).then_some(missing)
    }

    /// Returns what [`Marks::missing`] returns, and updates whether the reserve is being filled.
    pub(crate) fn update(&self, is_filling: &mut bool, pages: usize) -> Option<usize> {
        let missing = self.missing(*is_filling, pages);
        *is_filling = missing.is_some();
        missing
    }
}

/// Returns the sizes of the pieces to search for when `missing` pages are missing, not 0, from the
/// largest one down: powers of two of at least `block` pages, which is one itself.
pub(crate) fn piece_sizes(missing: usize, block: usize) -> impl Iterator<Item = usize> {
    let largest = LARGEST_PIECE.max(block);
    let pages = missing.min(largest).max(block).max(1);
    // The power of two that is not above it.
    let first = 1usize << pages.ilog2();
    let halves = core::iter::successors(Some(first), |pages| Some(pages / 2));
    halves.take_while(move |pages| *pages >= block.max(1))
}

/// Divides `pages` pages among runs of `orders`, from the largest one down: three quarters of what
/// is left at each, in whole runs, and the rest at the last one. So there are some of each: a
/// buffer takes a few of the smaller ones for what is no multiple of the larger ones.
pub(crate) fn parts<const N: usize>(pages: usize, orders: [u32; N]) -> [usize; N] {
    let mut left = pages;
    let mut position = 0;
    orders.map(|order| {
        position += 1;
        let part = match position < N {
            true => (left - left / 4) & !(1usize.checked_shl(order).unwrap_or(0).wrapping_sub(1)),
            false => left,
        };
        left -= part;
        part
    })
}

/// Returns the order to which a range of `pages` pages, not 0, is aligned: that to which the page
/// allocator aligns its blocks, up to `block` pages, which is a power of two.
pub(crate) fn align_order(pages: usize, block: usize) -> u32 {
    let pages = pages.min(block).max(1);
    pages.next_power_of_two().trailing_zeros()
}

/// Returns the place of `pages` pages at a multiple of `2^order` pages in `piece`, as high as
/// possible: what is left begins where the piece does, so it is aligned as well.
pub(crate) fn place(piece: Segment, pages: usize, order: u32) -> Option<Segment> {
    let highest = piece.pfn + piece.pages.checked_sub(pages)?;
    let pfn = highest & !(1usize.checked_shl(order)? - 1);
    (pfn >= piece.pfn).then_some(Segment { pfn, pages })
}

/// Returns the index of the smallest one of `pieces` that has a place for a range.
pub(crate) fn best_fit(
    pieces: impl Iterator<Item = (usize, Segment)>,
    pages: usize,
    order: u32,
) -> Option<usize> {
    let fitting = pieces.filter(|(_, piece)| place(*piece, pages, order).is_some());
    let best = fitting.min_by_key(|(_, piece)| piece.pages);
    best.map(|(index, _)| index)
}

/// A delay that grows with each failure.
#[derive(Clone, Copy, Default)]
pub(crate) struct Backoff {
    delay: u32,
}

impl Backoff {
    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.delay = 0;
    }

    /// Returns how long to wait after another failure, in milliseconds: twice as long as before, at
    /// least `shortest`, and at most 30 s.
    pub(crate) fn next(&mut self, shortest: u32) -> u32 {
        let delay = self.delay.saturating_mul(2).max(shortest);
        self.delay = delay.min(LONGEST_DELAY);
        self.delay
    }
}
