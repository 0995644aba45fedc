// SPDX-License-Identifier: GPL-2.0

//! Counting kept pages as reclaimable memory.
//!
//! Pages that a shrinker can free are missing from `MemFree`. The counter
//! `NR_KERNEL_MISC_RECLAIMABLE` of their node adds them to `KReclaimable` and `MemAvailable` in
//! `/proc/meminfo`, by which programs decide whether memory is short.
//!
//! C header: [`include/linux/vmstat.h`](srctree/include/linux/vmstat.h)

use crate::{
    abstractions::{
        cma::Preparation,
        pages::{
            PageRun,
            RunList, //
        }, //
    },
    bindings as c,
    decisions::segment::Segment, //
};
use kernel::{
    ffi::c_int,
    page::PAGE_SHIFT,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// The largest difference between a cache and the kernel's count of it, in pages: 4 MiB. Changing
/// the kernel's counter for each buffer would cost more than taking the buffer's pages.
const BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// The value of [`ReclaimablePages::counted`] on a machine with several nodes. It differs from
/// every number of pages by more than [`BATCH`].
const BY_NODE: usize = usize::MAX;

/// The pages of a cache, as the kernel counts them.
///
/// The owner calls [`enter`](Self::enter) and [`leave`](Self::leave) for all pages, and
/// [`settle`](Self::settle) when the cache is going to stay as it is. The owner's own number of
/// pages, which it passes as a function, must have changed before.
///
/// # Invariants
///
/// - On a machine with one node, the kernel has counted `counted` pages of this cache.
/// - On a machine with several, `counted` is [`BY_NODE`]. The kernel has counted each page that has
///   entered the cache and has not left it.
pub(crate) struct ReclaimablePages {
    counted: Atomic<usize>,
}

impl ReclaimablePages {
    /// Counts no pages.
    pub(crate) fn new() -> Self {
        // SAFETY: The function reads a constant and has no requirements.
        let nodes = unsafe { c::nr_node_ids() };
        // INVARIANT: Nothing has been counted.
        Self {
            counted: Atomic::new(if nodes == 1 { 0 } else { BY_NODE }),
        }
    }

    /// Counts `pages`, which enter the cache. It has `kept()` pages now.
    ///
    /// The count is exact on a machine with several nodes. On others it differs by no more than
    /// 4 MiB. Does not sleep. Takes time in proportion to the number of runs on a machine with
    /// several nodes.
    #[inline]
    pub(crate) fn enter(&self, pages: &impl Pages, kept: impl Fn() -> usize) {
        if kept().abs_diff(self.counted.load(Relaxed)) > BATCH {
            self.change(|| pages.count(1), kept);
        }
    }

    /// Uncounts `pages`, which have left the cache, as [`ReclaimablePages::enter`] counts them.
    #[inline]
    pub(crate) fn leave(&self, pages: &impl Pages, kept: impl Fn() -> usize) {
        if kept().abs_diff(self.counted.load(Relaxed)) > BATCH {
            self.change(|| pages.count(-1), kept);
        }
    }

    #[cold]
    fn change(&self, count: impl FnOnce(), kept: impl Fn() -> usize) {
        match self.counted.load(Relaxed) {
            BY_NODE => count(),
            _ => self.settle(kept),
        }
    }

    /// Makes the count exact. Does not sleep.
    pub(crate) fn settle(&self, kept: impl Fn() -> usize) {
        loop {
            let (pages, counted) = (kept(), self.counted.load(Relaxed));
            if counted == pages || counted == BY_NODE {
                return;
            }
            // INVARIANT: The difference to the exchanged number is added below. Of several
            // concurrent calls, the last one to exchange the number then compares it again, so an
            // outdated number does not stay.
            let before = self.counted.xchg(pages, Full);
            // SAFETY: The machine has one node, which is node 0.
            unsafe { c::mod_reclaimable(0, pages.wrapping_sub(before) as isize) };
        }
    }
}

impl Drop for ReclaimablePages {
    fn drop(&mut self) {
        // On a machine with several nodes, all pages have left the cache.
        self.settle(|| 0);
    }
}

/// Owned pages that can be counted.
pub(crate) trait Pages {
    /// Adds `sign` times the pages to the counters of their nodes.
    fn count(&self, sign: isize);
}

impl Pages for PageRun {
    fn count(&self, sign: isize) {
        // SAFETY: The run owns the page, and the page's node exists.
        unsafe {
            let node = c::page_node(self.head().as_ptr());
            c::mod_reclaimable(node, sign * self.pages() as isize);
        }
    }
}

impl Pages for RunList {
    fn count(&self, sign: isize) {
        for run in self.segments() {
            // SAFETY: The list owns the page, and the page's node exists.
            unsafe {
                let node = c::page_node(c::pfn_to_page(run.pfn));
                c::mod_reclaimable(node, sign * run.pages as isize);
            }
        }
    }
}

/// Counts the pages of a cached range of an area as reclaimable until it is dropped.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     cma::{Area, Preparation, Purpose},
///     reclaimable::ReclaimableRange,
/// };
///
/// if let Some(area) = Area::default() {
///     let range = area.allocate(8, 0).ok_or(ENOMEM)?;
///     let range = Preparation::new(range, Purpose::Cached);
///     let mut reclaimable = ReclaimableRange::new(&range);
///     reclaimable.shrink_to(2);
///     drop(reclaimable);
/// }
/// ```
///
/// # Invariants
///
/// `pages` pages of `node` have been counted. The node exists. If there is none, `pages` is 0.
#[must_use = "the pages are counted until this is dropped"]
pub(crate) struct ReclaimableRange {
    node: Option<c_int>,
    pages: usize,
}

impl ReclaimableRange {
    /// Counts the pages of `range`, which may be empty. Does not sleep.
    pub(crate) fn new(range: &Preparation) -> Self {
        let Segment { pfn, pages } = range.segment();
        // An empty range may begin where memory ends, so there is no page to look at.
        let node = (pages > 0).then(|| {
            // SAFETY: The pages of a range have a `struct page`, and their node exists. A range is
            // part of one zone, and so of one node.
            unsafe { c::page_node(c::pfn_to_page(pfn)) }
        });
        // INVARIANT: The pages are counted below. The memory of a range is never removed.
        let this = Self { node, pages };
        this.count(pages as isize);
        this
    }

    /// Counts `pages` pages from now on, if these are fewer. Does not sleep.
    pub(crate) fn shrink_to(&mut self, pages: usize) {
        let less = self.pages.saturating_sub(pages);
        self.count(-(less as isize));
        // INVARIANT: The other pages were uncounted above.
        self.pages -= less;
    }

    /// Adds `pages` pages to what the kernel has counted.
    fn count(&self, pages: isize) {
        if let Some(node) = self.node {
            // SAFETY: By the type invariants the node exists.
            unsafe { c::mod_reclaimable(node, pages) };
        }
    }
}

impl Drop for ReclaimableRange {
    fn drop(&mut self) {
        self.count(-(self.pages as isize));
    }
}
