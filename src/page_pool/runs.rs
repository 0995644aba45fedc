// SPDX-License-Identifier: GPL-2.0

//! Runs of the orders that a pool uses.

use crate::{
    abstractions::{
        pages::{
            PageRun,
            RunList,
            Segments, //
        },
        reclaimable::Pages, //
    },
    decisions::segment::Segment, //
};

use kernel::{
    error::Result,
    page::PAGE_SHIFT, //
};

/// The orders, largest first: 2 MiB, 1 MiB, 64 KiB and one page. Page tables and IOMMUs map these
/// sizes with one entry or a few. Where a page has 64 KiB, the third one is two pages.
pub(crate) const ORDERS: [u32; 4] = [order_of(2 << 20), order_of(1 << 20), order_of(64 << 10), 0];

/// Returns the order of a run of `size` bytes, a power of two, or that of two pages.
const fn order_of(size: usize) -> u32 {
    match size.ilog2().checked_sub(PAGE_SHIFT as u32) {
        None | Some(0) => 1,
        Some(order) => order,
    }
}

// Shards have runs of the last order, which are single pages. Buffers are filled with the largest
// orders first.
const _: () = {
    let [huge, large, middle, single] = ORDERS;
    assert!(huge > large && large > middle && middle > single && single == 0);
};

/// Runs, in one list for each of [`ORDERS`].
pub(crate) struct Runs([RunList; ORDERS.len()]);

impl Runs {
    /// Creates empty lists.
    pub(crate) const fn new() -> Self {
        let [huge, large, middle, single] = ORDERS;
        Self([
            RunList::new(huge),
            RunList::new(large),
            RunList::new(middle),
            RunList::new(single),
        ])
    }

    /// Returns the number of pages of all runs.
    pub(crate) fn pages(&self) -> usize {
        self.0.iter().map(RunList::pages).sum()
    }

    /// Returns the number of chunks of at most `max_pages` pages, which is not 0, of all runs.
    pub(crate) fn chunks(&self, max_pages: usize) -> usize {
        let of =
            |list: &RunList| list.runs() * (1_usize << list.order()).div_ceil(max_pages.max(1));
        self.0.iter().map(of).sum()
    }

    /// Returns the list of order `ORDERS[index]`.
    pub(crate) fn list(&mut self, index: usize) -> Option<&mut RunList> {
        self.0.get_mut(index)
    }

    /// Inserts `run` into the list of its order. Frees it if there is no such list.
    pub(crate) fn push(&mut self, run: PageRun) {
        if let Some(list) = self.0.iter_mut().find(|list| list.order() == run.order()) {
            list.push(run);
        }
    }

    /// Moves all runs of `list` to the list of their order, in constant time.
    pub(crate) fn append_list(&mut self, list: &mut RunList) {
        if let Some(own) = self.0.iter_mut().find(|own| own.order() == list.order()) {
            own.append(list);
        }
    }

    /// Removes a run of the smallest order that has one.
    pub(crate) fn pop_smallest(&mut self) -> Option<PageRun> {
        self.0.iter_mut().rev().find_map(RunList::pop)
    }

    /// Moves all runs of `other` to `self`, in constant time.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for (list, other) in self.0.iter_mut().zip(&mut other.0) {
            list.append(other);
        }
    }

    /// Calls `f` for the list of each order until it fails.
    pub(crate) fn try_for_each_list(&mut self, f: impl FnMut(&mut RunList) -> Result) -> Result {
        self.0.iter_mut().try_for_each(f)
    }

    /// Returns the runs as segments of physical memory, largest orders first.
    pub(crate) fn segments(&self) -> RunsSegments<'_> {
        RunsSegments(self.0.each_ref().map(RunList::segments))
    }
}

impl Pages for Runs {
    fn count(&self, sign: isize) {
        self.0.iter().for_each(|list| list.count(sign));
    }
}

/// An iterator over the segments of [`Runs`].
#[derive(Clone)]
pub(crate) struct RunsSegments<'a>([Segments<'a>; ORDERS.len()]);

impl Iterator for RunsSegments<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        self.0.iter_mut().find_map(Iterator::next)
    }
}
