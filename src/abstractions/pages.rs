// SPDX-License-Identifier: GPL-2.0

//! Runs of pages from the buddy allocator, owned.
//!
//! A [`PageRun`] is one allocation of `2^order` physically contiguous pages. A [`RunList`] holds
//! any number of runs of one order without allocating: they are linked through the field that
//! `struct page` reserves for its owner. So runs can be collected, moved between lists and given
//! back where no memory may be allocated (a shrinker, a release).
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::{
    abstractions::cache_cleaner::Cleaner,
    bindings as c,
    decisions::segment::Segment, //
};
use core::{
    marker::PhantomData,
    mem::{
        self,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::Result, //
};

/// How hard the kernel tries before an allocation of pages fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// Takes what is free and nothing more: no reclaim, no compaction, no warning.
    Never,
    /// Reclaims, but fails rather than have the out-of-memory killer end somebody.
    Direct,
}

/// Where pages come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Anywhere, high memory first where there is some.
    Any,
    /// Physical addresses below 4 GiB.
    Dma32,
    /// Where the kernel's own data can lie.
    Kernel,
}

/// Owner of `2^order` physically contiguous pages.
///
/// # Invariants
///
/// `head` is the first page of an allocation of `order` made by `alloc_pages()` (a compound page
/// where the order is not 0) that this value owns alone: nobody else frees it or uses its link
/// field.
pub(crate) struct PageRun {
    head: NonNull<bindings::page>,
    order: u32,
}

// SAFETY: Pages are bound to no thread.
unsafe impl Send for PageRun {}
// SAFETY: Nothing can be changed through a shared reference.
unsafe impl Sync for PageRun {}

impl PageRun {
    /// Allocates `2^order` zeroed pages.
    ///
    /// May sleep with [`Reclaim::Direct`]. Returns `None` where there is no such run.
    pub(crate) fn allocate(order: u32, zone: Zone, reclaim: Reclaim) -> Option<Self> {
        let zone = match zone {
            Zone::Any => c::GFP_HIGHUSER,
            Zone::Dma32 => c::GFP_USER | c::GFP_DMA32,
            Zone::Kernel => c::GFP_USER,
        };
        let mut gfp = zone | c::GFP_ZERO | c::GFP_NOWARN;
        if order > 0 {
            gfp |= c::GFP_COMP;
        }
        match reclaim {
            Reclaim::Never => gfp = (gfp | c::GFP_NORETRY) & !c::GFP_RECLAIM,
            Reclaim::Direct => gfp |= c::GFP_RETRY_MAYFAIL,
        }
        // SAFETY: Any flags and order may be asked for; it may sleep only where the caller chose
        // `Reclaim::Direct`.
        let head = unsafe { bindings::alloc_pages(gfp, order) };
        // INVARIANT: The allocation was just made with this order and is owned by nobody else.
        NonNull::new(head).map(|head| Self { head, order })
    }

    /// The order.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// The number of pages of the run.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        1 << self.order
    }

    /// The first page.
    #[inline]
    pub(crate) fn head(&self) -> NonNull<bindings::page> {
        self.head
    }

    /// Fills the run with zeros. May sleep between pages.
    pub(crate) fn zero(&mut self) {
        // SAFETY: The run owns these pages, and the exclusive reference shows that nobody else
        // looks at them through it.
        unsafe { c::clear_pages(self.head.as_ptr(), self.pages()) };
    }

    /// Writes the CPU's cache lines of the run back and drops them. Fails as [`Cleaner::clean`]
    /// does.
    pub(crate) fn clean(&mut self, cleaner: &Cleaner) -> Result {
        // SAFETY: The run owns these pages.
        unsafe { cleaner.clean(self.segment()) }
    }

    #[inline]
    fn segment(&self) -> Segment {
        // SAFETY: `head` is a page that `self` owns, by the type's invariant.
        let pfn = unsafe { c::page_to_pfn(self.head.as_ptr()) };
        Segment {
            pfn,
            pages: self.pages(),
        }
    }
}

impl Drop for PageRun {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the run is owned by `self` and was allocated with this
        // order.
        unsafe { bindings::__free_pages(self.head.as_ptr(), self.order) };
    }
}

/// A list of page runs of one order that needs no memory of its own.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pages::{Reclaim, PageRun, RunList, Zone};
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
/// `first` leads, through the link field of each head page, to `runs` runs of `order` that the list
/// owns; `last` is the last of them and its link is null. Both are `None` where the list is empty.
pub(crate) struct RunList {
    first: Option<NonNull<bindings::page>>,
    last: Option<NonNull<bindings::page>>,
    runs: u32,
    order: u32,
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
    // SAFETY: The field lies inside the page's `struct page`, is as large as two pointers, and is
    // the owner's to use.
    unsafe { head.as_ptr().byte_add(c::PAGE_LINK_OFFSET).cast() }
}

impl RunList {
    /// An empty list for runs of `order`.
    pub(crate) const fn new(order: u32) -> Self {
        // INVARIANT: Empty.
        Self {
            first: None,
            last: None,
            runs: 0,
            order,
        }
    }

    /// The order of the runs.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// The number of runs in the list.
    #[inline]
    pub(crate) fn runs(&self) -> usize {
        self.runs as usize
    }

    /// The number of pages of all runs in the list.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        (self.runs as usize) << self.order
    }

    /// Puts `run` at the end. A run of another order is freed: it has no place here.
    pub(crate) fn push(&mut self, run: PageRun) {
        debug_assert!(run.order == self.order);
        if run.order != self.order {
            return;
        }
        let head = ManuallyDrop::new(run).head;
        // INVARIANT: `head` becomes the last run of the list, its link null; the count grows by it.
        // SAFETY: The list owns `head` from here on.
        unsafe { link(head).write(ptr::null_mut()) };
        match self.last {
            // SAFETY: `last` is owned by the list, by the type's invariant.
            Some(last) => unsafe { link(last).write(head.as_ptr()) },
            None => self.first = Some(head),
        }
        self.last = Some(head);
        self.runs += 1;
    }

    /// Takes the first run.
    pub(crate) fn pop(&mut self) -> Option<PageRun> {
        let head = self.first?;
        // INVARIANT: The second run, if any, becomes the first; the count shrinks by `head`, which
        // is handed out. SAFETY: `first` is owned by the list, by the type's invariant.
        let next = unsafe { link(head).read() };
        // The allocator looks at the field when a page is freed; no stale pointer is to be found
        // there. SAFETY: As above.
        unsafe { link(head).write(ptr::null_mut()) };
        self.first = NonNull::new(next);
        if self.first.is_none() {
            self.last = None;
        }
        self.runs -= 1;
        // INVARIANT: The list owned a run of this order that begins with `head`.
        Some(PageRun {
            head,
            order: self.order,
        })
    }

    /// Moves the first `wanted` runs, or all if there are fewer, to the end of `other`. The orders
    /// must be equal.
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

    /// Moves all of `other` to the end of this list, in constant time. The orders must be equal.
    pub(crate) fn append(&mut self, other: &mut Self) {
        debug_assert!(other.order == self.order);
        let Some(first) = other.first.filter(|_| other.order == self.order) else {
            return;
        };
        match self.last {
            // INVARIANT: The runs of `other` follow this list's, which owns them from here on.
            // SAFETY: `last` is owned by the list, by the type's invariant.
            Some(last) => unsafe { link(last).write(first.as_ptr()) },
            None => self.first = Some(first),
        }
        self.last = other.last;
        self.runs += other.runs;
        // INVARIANT: Empty. The runs have moved, so the old value must not free them.
        mem::forget(mem::replace(other, Self::new(other.order)));
    }

    /// Calls `f` for each run until it fails.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(&PageRun) -> Result) -> Result {
        let mut next = self.first;
        while let Some(head) = next {
            // The list keeps the run: it must not be freed here.
            f(&ManuallyDrop::new(PageRun {
                head,
                order: self.order,
            }))?;
            // SAFETY: The list owns `head` and is borrowed, so its links stay as they are.
            next = NonNull::new(unsafe { link(head).read() });
        }
        Ok(())
    }

    /// The runs as segments of physical memory, in the order of the list.
    pub(crate) fn segments(&self) -> Segments<'_> {
        // INVARIANT: The first run of the list that is borrowed.
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

/// Iterator over the runs of a [`RunList`].
///
/// # Invariants
///
/// `next` is a run of `order` of the list that is borrowed for `'a`.
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
        // The list keeps the run: it must not be freed here.
        let run = ManuallyDrop::new(PageRun {
            head,
            order: self.order,
        });
        // SAFETY: By the type's invariant the list owns `head` and is borrowed, so its links stay
        // as they are.
        self.next = NonNull::new(unsafe { link(head).read() });
        Some(run.segment())
    }
}

/// RAM that the kernel manages, in pages.
pub(crate) fn total_ram() -> usize {
    // SAFETY: Reads one counter; has no requirements.
    unsafe { c::totalram_pages() }
}

/// Whether the kernel finds that many pages for its own data, free or in the page cache, before it
/// has to kill somebody.
pub(crate) fn free_pages_suffice(wanted: usize) -> bool {
    // SAFETY: Reads counters; has no requirements.
    unsafe { c::free_pages_suffice(wanted) }
}
