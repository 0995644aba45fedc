// SPDX-License-Identifier: GPL-2.0

//! Runs of all the orders that a pool keeps.

use crate::{
    abstractions::pages::{
        PageRun,
        RunList,
        Segments, //
    },
    decisions::segment::Segment, //
};

use kernel::error::Result;

/// The orders, largest first: 2 MiB, 1 MiB, 64 KiB and one page, with 4 KiB pages. These are sizes
/// that page tables and IOMMUs map with one entry or with few.
pub(crate) const ORDERS: [u32; 4] = [9, 8, 4, 0];

/// Runs, in a list for each of [`ORDERS`].
pub(crate) struct Runs([RunList; ORDERS.len()]);

impl Runs {
    /// No runs.
    pub(crate) const fn new() -> Self {
        let [huge, large, middle, single] = ORDERS;
        Self([
            RunList::new(huge),
            RunList::new(large),
            RunList::new(middle),
            RunList::new(single),
        ])
    }

    /// The number of pages of all runs.
    pub(crate) fn pages(&self) -> usize {
        self.0.iter().map(RunList::pages).sum()
    }

    /// The list of the runs of order `ORDERS[index]`.
    pub(crate) fn list(&mut self, index: usize) -> Option<&mut RunList> {
        self.0.get_mut(index)
    }

    /// Puts `run` in the list of its order. A run of an order that has no list is freed.
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

    /// Takes a run of the smallest order that there is.
    pub(crate) fn pop_smallest(&mut self) -> Option<PageRun> {
        self.0.iter_mut().rev().find_map(RunList::pop)
    }

    /// Moves all runs of `other` here, in constant time.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for (list, other) in self.0.iter_mut().zip(&mut other.0) {
            list.append(other);
        }
    }

    /// Calls `f` for each run until it fails.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(&PageRun) -> Result) -> Result {
        self.0.iter().try_for_each(|list| list.try_for_each(&mut f))
    }

    /// The runs as segments of physical memory, largest orders first.
    pub(crate) fn segments(&self) -> RunsSegments<'_> {
        RunsSegments(self.0.each_ref().map(RunList::segments))
    }
}

/// Iterator over the segments of [`Runs`].
#[derive(Clone)]
pub(crate) struct RunsSegments<'a>([Segments<'a>; ORDERS.len()]);

impl Iterator for RunsSegments<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        self.0.iter_mut().find_map(Iterator::next)
    }
}
