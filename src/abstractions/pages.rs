// SPDX-License-Identifier: GPL-2.0

//! Owned runs of pages from the buddy allocator.
//!
//! A [`PageRun`] is one allocation of `2^order` physically contiguous pages. A [`RunList`] holds
//! any number of runs of one order.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

mod run_list;

pub(crate) use run_list::{
    RunList,
    Segments, //
};

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        memory_failure, //
    },
    bindings as c,
    decisions::segment::Segment, //
};
use core::{
    mem::{
        align_of,
        size_of, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::Result,
    pr_notice,
    static_assert,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The effort of the page allocator before an allocation fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// Allocates free pages only: no reclaim, no compaction, no warning. Does not sleep.
    Never,
    /// Reclaims and compacts once, and gives up soon. May sleep.
    Once,
    /// Reclaims, but never triggers the OOM killer. May sleep.
    Direct,
}

/// The zones that pages are allocated from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// All zones, highmem first if the machine has it.
    Any,
    /// Zones below 4 GiB.
    Dma32,
    /// Zones with a linear mapping: no highmem.
    Normal,
}

/// An owned run of `2^order` physically contiguous pages.
///
/// Dropping it frees the pages, when nobody else refers to them any more. A run of several pages of
/// which one [has failed](memory_failure) is leaked, with a message: it can only be freed as a
/// whole, and the page allocator would hand out that page again. A single one it drops itself.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
///
/// let mut run = PageRun::allocate(2, Zone::Dma32, Reclaim::Direct).ok_or(ENOMEM)?;
/// assert_eq!((run.order(), run.pages()), (2, 4));
/// assert!(!run.is_shared());
/// run.zero();
/// ```
///
/// # Invariants
///
/// `head` is the first page of an allocation of `order` by `alloc_pages()`, a compound page if the
/// order is not 0. This value is its only owner: nothing else frees it or accesses its link field.
#[must_use = "the pages are freed when this is dropped"]
pub(crate) struct PageRun {
    head: NonNull<bindings::page>,
    order: u32,
}

// SAFETY: Any thread may use and free pages.
unsafe impl Send for PageRun {}
// SAFETY: A shared reference gives read access to the fields only.
unsafe impl Sync for PageRun {}

impl PageRun {
    /// Allocates `2^order` zeroed pages.
    ///
    /// May sleep, except with [`Reclaim::Never`]. Returns `None` if the page allocator has no such
    /// run.
    pub(crate) fn allocate(order: u32, zone: Zone, reclaim: Reclaim) -> Option<Self> {
        let zone = match zone {
            Zone::Any => c::GFP_HIGHUSER,
            Zone::Dma32 => c::GFP_USER | c::GFP_DMA32,
            Zone::Normal => c::GFP_USER,
        };
        let mut gfp = zone | c::GFP_ZERO | c::GFP_NOWARN;
        if order > 0 {
            gfp |= c::GFP_COMP;
        }
        match reclaim {
            Reclaim::Never => gfp = (gfp | c::GFP_NORETRY) & !c::GFP_RECLAIM,
            Reclaim::Once => gfp |= c::GFP_NORETRY,
            Reclaim::Direct => gfp |= c::GFP_RETRY_MAYFAIL,
        }
        // SAFETY: The function accepts any order and these flags. It does not sleep with
        // `Reclaim::Never`.
        let head = unsafe { bindings::alloc_pages(gfp, order) };
        // INVARIANT: The allocation is new, has this order, and has no other owner.
        NonNull::new(head).map(|head| Self { head, order })
    }

    /// Returns the order.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// Returns the number of pages.
    #[inline]
    pub(crate) fn pages(&self) -> usize {
        1 << self.order
    }

    /// Returns the first page.
    #[inline]
    pub(crate) fn head(&self) -> NonNull<bindings::page> {
        self.head
    }

    /// Zeroes the run. May sleep between pages.
    pub(crate) fn zero(&mut self) {
        // SAFETY: By the type invariant the run owns these pages, and it is borrowed exclusively.
        unsafe { c::clear_pages(self.head.as_ptr(), self.pages()) };
    }

    /// Writes back and invalidates the CPU cache lines of the run. Fails as [`Cleaner::clean`]
    /// does.
    pub(crate) fn clean(&mut self, cleaner: &Cleaner) -> Result {
        // SAFETY: By the type invariant the run owns these pages.
        unsafe { cleaner.clean(self.segment()) }
    }

    /// Returns whether somebody else holds a reference to the run.
    ///
    /// Dropping such a run frees it with the last of the other references.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        // References to any page of a compound page are counted in its head.
        // SAFETY: By the type invariant `head` is a valid page. The field is inside `struct page`
        // and aligned, as asserted below, and is accessed atomically only.
        let references = unsafe {
            let field = self.head.as_ptr().byte_add(c::PAGE_REFCOUNT_OFFSET);
            Atomic::<i32>::from_ptr(field.cast()).load(Relaxed)
        };
        references != 1
    }

    /// Returns whether memory of the run has failed. It must not be accessed any more then.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        // First, since finding the page frame takes a call.
        memory_failure::is_possible() && memory_failure::has_failed(self.segment())
    }

    /// Returns the page frames of the run.
    #[inline]
    pub(crate) fn segment(&self) -> Segment {
        // SAFETY: By the type invariant `head` is a valid page.
        let pfn = unsafe { c::page_to_pfn(self.head.as_ptr()) };
        Segment {
            pfn,
            pages: self.pages(),
        }
    }
}

// The number of references is inside `struct page`, and aligned.
static_assert!(
    c::PAGE_REFCOUNT_OFFSET + size_of::<i32>() <= size_of::<bindings::page>()
        && c::PAGE_REFCOUNT_OFFSET % align_of::<i32>() == 0
);

impl Drop for PageRun {
    fn drop(&mut self) {
        if self.order > 0 && self.has_failed() {
            pr_notice!(
                "{} pages from PFN {:#x} on are not used again, memory of them has failed\n",
                self.pages(),
                self.segment().pfn
            );
            return;
        }
        // SAFETY: By the type invariant this value is the only owner of the run, which was
        // allocated with this order.
        unsafe { bindings::__free_pages(self.head.as_ptr(), self.order) };
    }
}
