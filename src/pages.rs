// SPDX-License-Identifier: GPL-2.0

//! Runs of pages from the buddy allocator, owned.
//!
//! A [`PageRun`] is one allocation of `2^order` physically contiguous pages. A [`RunList`] holds any number of them
//! without allocating: the runs are linked through the field that `struct page` reserves for its owner, so runs can be
//! collected, moved between lists and given back where no memory may be allocated (a shrinker, a release).
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::{
    bindings as c,
    memory::{Memory, Segment},
};
use core::{marker::PhantomData, ptr, ptr::NonNull};
use kernel::bindings;

/// How hard the kernel tries before an allocation of pages fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Takes what is free and nothing more: no reclaim, no compaction, no warning.
    Opportunistic,
    /// Reclaims, and may call the out-of-memory killer for a single page.
    Full,
}

/// Owner of `2^order` physically contiguous pages.
///
/// # Invariants
///
/// `head` is the first page of an allocation made by `alloc_pages()` (a compound page where its order is not 0) that
/// this value owns alone: nobody else frees it or uses its link field.
pub(crate) struct PageRun {
    head: NonNull<bindings::page>,
}

// SAFETY: Pages are bound to no thread.
unsafe impl Send for PageRun {}
// SAFETY: Nothing can be changed through a shared reference.
unsafe impl Sync for PageRun {}

impl PageRun {
    /// Allocates `2^order` zeroed pages, from high memory where there is some.
    ///
    /// May sleep with [`Effort::Full`]. Returns `None` where there is no such run.
    pub(crate) fn allocate(order: u32, effort: Effort) -> Option<Self> {
        let mut gfp = c::GFP_HIGHUSER | c::GFP_ZERO;
        if order > 0 {
            gfp |= c::GFP_COMP;
        }
        if effort == Effort::Opportunistic {
            gfp = (gfp | c::GFP_NOWARN | c::GFP_NORETRY) & !c::GFP_RECLAIM;
        }
        // SAFETY: Any flags and order may be asked for; it may sleep only where the caller chose `Full`.
        let head = unsafe { bindings::alloc_pages(gfp, order) };
        // INVARIANT: The allocation was just made and is owned by nobody else.
        NonNull::new(head).map(|head| Self { head })
    }

    /// The order of the run: it has `2^order` pages.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        // SAFETY: `head` is a page that `self` owns, by the type's invariant.
        unsafe { c::compound_order(self.head.as_ptr()) }
    }

    /// The number of pages of the run.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        1 << self.order()
    }

    fn segment(&self) -> Segment {
        // SAFETY: `head` is a page that `self` owns, by the type's invariant.
        let frame = unsafe { c::page_to_pfn(self.head.as_ptr()) };
        Segment { frame, pages: self.pages() }
    }

    fn into_raw(self) -> NonNull<bindings::page> {
        let head = self.head;
        core::mem::forget(self);
        head
    }
}

impl Drop for PageRun {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the run is owned by `self` and was allocated with this order.
        unsafe { bindings::__free_pages(self.head.as_ptr(), self.order()) };
    }
}

/// A list of page runs that needs no memory of its own.
///
/// # Invariants
///
/// `first` leads, through the link field of each head page, to runs that the list owns, `pages` pages in all;
/// `last` is the last of them and its link is null. Both are `None` where the list is empty.
pub(crate) struct RunList {
    first: Option<NonNull<bindings::page>>,
    last: Option<NonNull<bindings::page>>,
    pages: usize,
}

// SAFETY: A list only holds `PageRun`s, which are `Send`.
unsafe impl Send for RunList {}
// SAFETY: Nothing can be changed through a shared reference.
unsafe impl Sync for RunList {}

/// The link field of `head`.
///
/// # Safety
///
/// `head` must be a page owned by a [`RunList`] that the caller has a reference to.
#[inline]
unsafe fn link(head: NonNull<bindings::page>) -> *mut *mut bindings::page {
    // SAFETY: The field lies inside the page's `struct page`, is as large as two pointers, and is the owner's to use.
    unsafe { head.as_ptr().byte_add(c::PAGE_LINK_OFFSET).cast() }
}

impl RunList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Empty.
        Self { first: None, last: None, pages: 0 }
    }

    /// The number of pages of all runs in the list.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Puts `run` at the end.
    pub(crate) fn push(&mut self, run: PageRun) {
        let pages = run.pages();
        let head = run.into_raw();
        // INVARIANT: `head` becomes the last run of the list, its link null; the counts grow by it.
        // SAFETY: The list owns `head` from here on.
        unsafe { link(head).write(ptr::null_mut()) };
        match self.last {
            // SAFETY: `last` is owned by the list, by the type's invariant.
            Some(last) => unsafe { link(last).write(head.as_ptr()) },
            None => self.first = Some(head),
        }
        self.last = Some(head);
        self.pages += pages;
    }

    /// Takes the first run.
    pub(crate) fn pop(&mut self) -> Option<PageRun> {
        let head = self.first?;
        // INVARIANT: The second run, if any, becomes the first; the counts shrink by `head`, which is handed out.
        // SAFETY: `first` is owned by the list, by the type's invariant.
        let next = unsafe { link(head).read() };
        // The allocator looks at the field when a page is freed; no stale pointer is to be found there.
        // SAFETY: As above.
        unsafe { link(head).write(ptr::null_mut()) };
        self.first = NonNull::new(next);
        if self.first.is_none() {
            self.last = None;
        }
        let run = PageRun { head };
        self.pages -= run.pages();
        Some(run)
    }

}

// SAFETY: The list owns its runs and lists exactly them; `PageRun::allocate` zeroes what it allocates.
unsafe impl Memory for RunList {
    type Segments<'a> = Segments<'a>;

    fn segments(&self) -> Segments<'_> {
        // INVARIANT: The first run of the list that is borrowed.
        Segments { next: self.first, _list: PhantomData }
    }

    fn pages(&self) -> usize {
        self.pages
    }
}

impl Drop for RunList {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// Iterator over the runs of a [`RunList`].
///
/// # Invariants
///
/// `next` is a run of the list that is borrowed for `'a`.
#[derive(Clone)]
pub(crate) struct Segments<'a> {
    next: Option<NonNull<bindings::page>>,
    _list: PhantomData<&'a RunList>,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        let head = self.next?;
        // The list keeps the run: it must not be freed here.
        let run = core::mem::ManuallyDrop::new(PageRun { head });
        // SAFETY: By the type's invariant the list owns `head` and is borrowed, so its links stay as they are.
        self.next = NonNull::new(unsafe { link(head).read() });
        Some(run.segment())
    }
}

/// RAM that the kernel manages, in pages.
pub(crate) fn total_ram() -> usize {
    // SAFETY: Reads one counter; has no requirements.
    unsafe { c::totalram_pages() }
}
