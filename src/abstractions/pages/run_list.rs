// SPDX-License-Identifier: GPL-2.0

//! Lists of runs.
//!
//! A list links its runs through the field that `struct page` reserves for the owner of the page,
//! so its operations allocate no memory and are allowed in reclaim context.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use super::PageRun;
use crate::{
    abstractions::memory_failure,
    bindings as c,
    decisions::segment::Segment, //
};
use core::{
    marker::PhantomData,
    mem::{
        self,
        align_of,
        size_of,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::Result,
    static_assert, //
};

/// A list of page runs of one order. Its operations allocate no memory.
///
/// Dropping it frees the runs.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pages::{PageRun, Reclaim, RunList, Zone};
///
/// let mut list = RunList::new(1);
/// for _ in 0..3 {
///     list.push(PageRun::allocate(1, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
/// }
/// assert_eq!((list.runs(), list.pages()), (3, 6));
///
/// let mut other = RunList::new(1);
/// list.move_to(2, &mut other);
/// assert_eq!((list.runs(), other.runs()), (1, 2));
/// ```
///
/// # Invariants
///
/// The link fields of the head pages connect `first` to `runs` runs of `order` that this list owns.
/// `last` is the head page of the last run, and its link is null. `first` and `last` are `None` if
/// the list is empty.
#[must_use = "the runs are freed when this is dropped"]
pub(crate) struct RunList {
    first: Option<NonNull<bindings::page>>,
    last: Option<NonNull<bindings::page>>,
    runs: u32,
    order: u32,
}

// SAFETY: A list owns `PageRun`s only, which are `Send`.
unsafe impl Send for RunList {}
// SAFETY: A shared reference gives read access to the list only.
unsafe impl Sync for RunList {}

// The link field is inside `struct page`, and a pointer in it is aligned.
static_assert!(
    c::PAGE_LINK_OFFSET + size_of::<*mut bindings::page>() <= size_of::<bindings::page>()
        && c::PAGE_LINK_OFFSET % align_of::<*mut bindings::page>() == 0
        && align_of::<bindings::page>() >= align_of::<*mut bindings::page>()
);

/// Returns a pointer to the link field of `head`.
///
/// # Safety
///
/// `head` must be the head page of a run that is owned by a [`RunList`] to which the caller has a
/// reference.
#[inline]
unsafe fn link(head: NonNull<bindings::page>) -> *mut *mut bindings::page {
    // SAFETY: The field is inside `struct page`, as asserted above.
    unsafe { head.as_ptr().byte_add(c::PAGE_LINK_OFFSET).cast() }
}

impl RunList {
    /// The largest number of runs that [`RunList::move_batch`] moves one by one. A spin lock may be
    /// held that long.
    pub(crate) const MOVE_BATCH: usize = 64;

    /// Creates an empty list for runs of `order`.
    pub(crate) const fn new(order: u32) -> Self {
        // INVARIANT: The list is empty.
        Self {
            first: None,
            last: None,
            runs: 0,
            order,
        }
    }

    /// Returns the order of the runs.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// Returns the number of runs.
    #[inline]
    pub(crate) fn runs(&self) -> usize {
        self.runs as usize
    }

    /// Returns the number of pages of all runs.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        (self.runs as usize) << self.order
    }

    /// Appends `run`. A run of another order is freed instead, as the list cannot hold it.
    pub(crate) fn push(&mut self, run: PageRun) {
        debug_assert!(run.order == self.order);
        if run.order != self.order {
            return;
        }
        let head = ManuallyDrop::new(run).head;
        // INVARIANT: The list owns `head`, which becomes its last run with a null link, and counts
        // it.
        // SAFETY: The list owns `head`.
        unsafe { link(head).write(ptr::null_mut()) };
        match self.last {
            // SAFETY: By the type invariant the list owns `last`.
            Some(last) => unsafe { link(last).write(head.as_ptr()) },
            None => self.first = Some(head),
        }
        self.last = Some(head);
        self.runs += 1;
    }

    /// Removes and returns the first run.
    pub(crate) fn pop(&mut self) -> Option<PageRun> {
        let head = self.first?;
        // INVARIANT: The second run, if any, becomes the first. The list no longer owns or counts
        // `head`.
        // SAFETY: By the type invariant the list owns `first`.
        let next = unsafe { link(head).read() };
        // The page allocator may check the field when it frees a page, so the link is cleared.
        // SAFETY: By the type invariant the list owned `head` until here.
        unsafe { link(head).write(ptr::null_mut()) };
        self.first = NonNull::new(next);
        if self.first.is_none() {
            self.last = None;
        }
        self.runs -= 1;
        // INVARIANT: `head` is the first page of a run of this order, which the list owned and now
        // passes on.
        Some(PageRun {
            head,
            order: self.order,
        })
    }

    /// Moves the first `wanted` runs, or all if there are fewer, to the end of `other`.
    ///
    /// The orders must be equal.
    pub(crate) fn move_to(&mut self, wanted: usize, other: &mut Self) {
        if wanted >= self.runs() {
            other.append(self);
            return;
        }
        for _ in 0..wanted {
            let Some(run) = self.pop() else {
                return;
            };
            other.push(run);
        }
    }

    /// Moves up to `wanted` runs to the end of `other` in bounded time: at most
    /// [`RunList::MOVE_BATCH`], or all runs of this list if there are no more than `wanted`.
    /// Returns their number.
    ///
    /// The orders must be equal.
    #[inline]
    pub(crate) fn move_batch(&mut self, wanted: usize, other: &mut Self) -> usize {
        let runs = self.runs();
        let moved = if wanted < runs {
            wanted.min(Self::MOVE_BATCH)
        } else {
            runs
        };
        self.move_to(moved, other);
        moved
    }

    /// Moves all runs of `other` to the end of this list, in constant time.
    ///
    /// The orders must be equal. If they are not, the lists do not change.
    pub(crate) fn append(&mut self, other: &mut Self) {
        debug_assert!(other.order == self.order);
        let Some(first) = other.first.filter(|_| other.order == self.order) else {
            return;
        };
        match self.last {
            // INVARIANT: The runs of `other` follow those of this list, which now owns and counts
            // them.
            // SAFETY: By the type invariant the list owns `last`.
            Some(last) => unsafe { link(last).write(first.as_ptr()) },
            None => self.first = Some(first),
        }
        self.last = other.last;
        self.runs += other.runs;
        // INVARIANT: `other` is empty. Its old value no longer owns the runs, so it must not free
        // them.
        mem::forget(mem::replace(other, Self::new(other.order)));
    }

    /// Drops the runs whose memory [has failed](PageRun::has_failed), and returns their number.
    #[inline]
    pub(crate) fn drop_failed(&mut self) -> usize {
        if !memory_failure::is_possible() {
            return 0;
        }
        let (before, mut intact) = (self.runs(), Self::new(self.order));
        while let Some(run) = self.pop() {
            if !run.has_failed() {
                intact.push(run);
            }
        }
        self.append(&mut intact);
        before - self.runs()
    }

    /// Calls `f` for each run until it fails.
    ///
    /// The exclusive borrow allows `f` to change state of the pages that the list owns.
    pub(crate) fn try_for_each(&mut self, mut f: impl FnMut(&PageRun) -> Result) -> Result {
        let mut next = self.first;
        while let Some(head) = next {
            // The list owns the run, so it must not be freed here.
            f(&ManuallyDrop::new(PageRun {
                head,
                order: self.order,
            }))?;
            // SAFETY: By the type invariant the list owns `head`.
            next = NonNull::new(unsafe { link(head).read() });
        }
        Ok(())
    }

    /// Returns the page frames of each run, in list order.
    pub(crate) fn segments(&self) -> Segments<'_> {
        // INVARIANT: The borrowed list owns `first`.
        Segments {
            next: self.first,
            order: self.order,
            _list: PhantomData,
        }
    }
}

impl Drop for RunList {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// An iterator over the page frames of each run of a [`RunList`].
///
/// # Invariants
///
/// `next` is the head page of a run of `order` that is owned by a list borrowed for `'a`, or `None`
/// at the end.
#[derive(Clone)]
pub(crate) struct Segments<'a> {
    next: Option<NonNull<bindings::page>>,
    order: u32,
    _list: PhantomData<&'a RunList>,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        let head = self.next?;
        // The list owns the run, so it must not be freed here.
        let run = ManuallyDrop::new(PageRun {
            head,
            order: self.order,
        });
        // INVARIANT: The link leads to the next run of the same list.
        // SAFETY: By the type invariant a borrowed list owns `head`, so its link does not change.
        self.next = NonNull::new(unsafe { link(head).read() });
        Some(run.segment())
    }
}
