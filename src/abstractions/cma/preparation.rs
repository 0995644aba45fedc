// SPDX-License-Identifier: GPL-2.0

//! Preparing ranges of contiguous memory for buffers, and releasing them, in steps.

use super::{
    PreparedRange,
    Range, //
};
use crate::{
    abstractions::{
        cache_cleaner::{
            Cleaner,
            WRITE_COMBINED_WORKS, //
        },
        memory_failure,
        signal, //
    },
    bindings as c,
    decisions::{
        memory::Caching,
        segment::Segment, //
    }, //
};
use core::mem;
use kernel::{
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The number of pages that are zeroed between two checks for signals: 1 MiB with 4 KiB pages.
const ZERO_BATCH_PAGES: usize = 256;

/// The number of pages that [`Preparation::step`] prepares: 64 KiB, which takes some ten
/// microseconds.
const STEP_PAGES: usize = (64 << 10) >> PAGE_SHIFT;
static_assert!(STEP_PAGES > 0);

/// The number of pages that [`Preparation::release_step`] releases: 512 KiB. Each page costs some
/// ten nanoseconds, and more with options that make the page allocator write to freed pages.
const RELEASE_STEP_PAGES: usize = (512 << 10) >> PAGE_SHIFT;
static_assert!(RELEASE_STEP_PAGES > 0);

/// What a range is prepared for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Cached mappings of the CPU, and devices that are mapped for.
    Cached,
    /// The same, and devices that access the memory without being mapped for: the zeroes are not in
    /// the caches only.
    CachedAndClean,
    /// Write-combined mappings of the CPU.
    WriteCombined,
    /// All of these: no cache line of the memory is dirty, and none holds anything but zeroes.
    Anything,
}

impl Purpose {
    /// Returns a purpose that includes all those that are possible with `cleaner`.
    pub(crate) fn all(cleaner: &Cleaner) -> Self {
        match WRITE_COMBINED_WORKS && cleaner.reaches_memory() {
            true => Self::Anything,
            false => Self::Cached,
        }
    }

    /// Returns how the CPU maps the memory.
    pub(crate) fn caching(self) -> Caching {
        match self {
            Self::Cached | Self::CachedAndClean | Self::Anything => Caching::Cached,
            Self::WriteCombined => Caching::WriteCombined,
        }
    }

    /// Returns whether memory that is prepared for this is also prepared for `other`.
    fn includes(self, other: Self) -> bool {
        self == other
            || self == Self::Anything
            || (self == Self::CachedAndClean && other == Self::Cached)
    }
}

impl From<Caching> for Purpose {
    fn from(caching: Caching) -> Self {
        match caching {
            Caching::Cached => Self::Cached,
            Caching::WriteCombined => Self::WriteCombined,
        }
    }
}

/// A range that is being prepared for a buffer. Dropping it releases the pages.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     cache_cleaner::Cleaner,
///     cma::{Area, Preparation, Purpose, Ram},
/// };
/// use crate::decisions::memory::Memory;
///
/// let cleaner = Cleaner::new(c"rk_dma_heap_example")?;
/// if let Some(area) = Area::default() {
///     let range = area.allocate(301, 0).ok_or(ENOMEM)?;
///     let mut preparation = Preparation::new(range, Purpose::Cached);
///     preparation.step(&cleaner)?;
///     assert!(!preparation.is_done());
///     // The last pages are released first.
///     let before = preparation.segment();
///     assert_eq!(preparation.release_step(), 301 - 256);
///     assert_eq!(preparation.segment().pfn, before.pfn);
///     assert_eq!(preparation.finish(&cleaner)?.pages(), 256);
/// }
///
/// let range = Ram::new(KVec::new(), None).allocate_small(8, false).ok_or(ENOMEM)?;
/// let mut first = Preparation::new(range, Purpose::all(&cleaner));
/// first.step(&cleaner)?;
/// let rest = first.split_off(5);
/// assert!(first.is_done_for(Purpose::Cached) && rest.is_done());
/// assert!(first.adjoins(&rest) && !rest.adjoins(&first));
/// assert!(first.join(rest).is_ok());
/// assert!(first.is_done() && first.segment().pages == 8);
/// ```
///
/// # Invariants
///
/// The first `done` pages, at most all of them, were prepared for `purpose`: zeroed, and then
/// cleaned if it requires that.
#[must_use]
pub(crate) struct Preparation {
    range: Range,
    purpose: Purpose,
    done: usize,
}

impl Preparation {
    /// Begins to prepare `range` for `purpose`.
    pub(crate) fn new(range: Range, purpose: Purpose) -> Self {
        // INVARIANT: No page is prepared.
        Self {
            range,
            purpose,
            done: 0,
        }
    }

    /// Returns the pages.
    pub(crate) fn segment(&self) -> Segment {
        self.range.segment
    }

    /// Returns whether all pages are prepared.
    pub(crate) fn is_done(&self) -> bool {
        self.done == self.range.segment.pages
    }

    /// Returns whether all pages are prepared for `purpose`.
    pub(crate) fn is_done_for(&self, purpose: Purpose) -> bool {
        self.is_done() && self.purpose.includes(purpose)
    }

    /// Returns this for `purpose`. What was done for another purpose that does not include this one
    /// is done again.
    pub(crate) fn with_purpose(self, purpose: Purpose) -> Self {
        if self.purpose.includes(purpose) {
            // INVARIANT: The prepared pages are prepared for this purpose too.
            Self { purpose, ..self }
        } else {
            Self::new(self.range, purpose)
        }
    }

    /// Prepares some more pages.
    ///
    /// Takes bounded time and does not sleep. Fails with `EBUSY` if another user holds a reference
    /// to one of the pages or memory of one has failed, and as [`Cleaner::clean`] does.
    pub(crate) fn step(&mut self, cleaner: &Cleaner) -> Result {
        let Some(rest) = self.range.segment.skip(self.done) else {
            return Ok(());
        };
        let part = rest.truncate(STEP_PAGES);
        if memory_failure::has_failed(part) {
            return Err(EBUSY);
        }
        // SAFETY: By the type invariants of the range it owns these pages.
        if !unsafe { c::clear_unshared_pages(part.pfn, part.pages) } {
            return Err(EBUSY);
        }
        self.clean(cleaner, part)?;
        // INVARIANT: The pages were zeroed and cleaned above.
        self.done += part.pages;
        Ok(())
    }

    /// Cleans the CPU caches over `part`, which is a part of the range, if the purpose requires
    /// that.
    ///
    /// Does not sleep. Fails as [`Cleaner::clean`] does.
    #[inline]
    fn clean(&self, cleaner: &Cleaner, part: Segment) -> Result {
        // SAFETY: By the type invariants of the range it owns these pages, which have a
        // `struct page`.
        unsafe {
            match self.purpose {
                Purpose::Cached => Ok(()),
                Purpose::CachedAndClean => cleaner.write_back(part),
                Purpose::WriteCombined | Purpose::Anything => cleaner.clean(part),
            }
        }
    }

    /// Prepares the rest.
    ///
    /// May sleep. Fails with `EBUSY` if another user holds a reference to one of the pages, which
    /// is impossible for a new range, or if memory of one of all pages has failed. Fails with
    /// `EINTR` if a fatal signal is pending, and as [`Cleaner::clean`] does. The range is dropped
    /// on failure.
    pub(crate) fn finish(mut self, cleaner: &Cleaner) -> Result<PreparedRange> {
        if memory_failure::has_failed(self.range.segment) {
            return Err(EBUSY);
        }
        if let Some(rest) = self.range.segment.skip(self.done) {
            if self.range.is_shared(rest) {
                return Err(EBUSY);
            }
            for part in rest.chunks(ZERO_BATCH_PAGES) {
                if signal::fatal_pending() {
                    return Err(EINTR);
                }
                // SAFETY: By the type invariants of the range it owns these pages.
                unsafe { c::clear_pages(c::pfn_to_page(part.pfn), part.pages) };
                // Most of the lines are still in the caches.
                self.clean(cleaner, part)?;
            }
        }
        // INVARIANT: No page had another reference when it was prepared, and only an owner can pass
        // one on.
        self.range.exposed = false;
        // INVARIANT: The first pages were prepared before, and the rest above.
        Ok(PreparedRange {
            range: self.range,
            purpose: self.purpose,
        })
    }

    /// Splits the pages from index `pages` on off, at most all. Does not sleep.
    pub(crate) fn split_off(&mut self, pages: usize) -> Self {
        let whole = self.range.segment;
        let first = whole.truncate(pages);
        let rest = Segment {
            pfn: first.pfn + first.pages,
            pages: whole.pages - first.pages,
        };
        // INVARIANT: Each of both owns its part of the pages from here on. Of the first `done`
        // pages each has its part.
        self.range.segment = first;
        let done = self.done;
        self.done = done.min(first.pages);
        Self {
            range: Range {
                area: self.range.area,
                segment: rest,
                exposed: self.range.exposed,
            },
            purpose: self.purpose,
            done: done.saturating_sub(first.pages),
        }
    }

    /// Splits this into the pages that are prepared, those that the next [`Preparation::step`]
    /// would prepare, and the rest. Each may be empty. Does not sleep.
    pub(crate) fn split_next_step(mut self) -> [Self; 3] {
        let mut next = self.split_off(self.done);
        let rest = next.split_off(STEP_PAGES);
        [self, next, rest]
    }

    /// Returns whether [`Preparation::join`] joins this with `next`: both are of RAM, prepared for
    /// the same purpose, and `next` follows this in the same zone.
    pub(crate) fn adjoins(&self, next: &Self) -> bool {
        let (own, other) = (self.range.segment, next.range.segment);
        own.pfn + own.pages == other.pfn
            && own.pages > 0
            && other.pages > 0
            && self.purpose == next.purpose
            && self.range.area.is_none()
            && next.range.area.is_none()
            // SAFETY: By the type invariants of the ranges the pages have a `struct page`.
            && unsafe { c::same_zone(own.pfn, other.pfn) }
    }

    /// Appends the pages of `next`, which are given back if they do not
    /// [adjoin](Preparation::adjoins). Does not sleep.
    pub(crate) fn join(&mut self, next: Self) -> Result<(), Self> {
        if !self.adjoins(&next) {
            return Err(next);
        }
        if self.is_done() {
            // INVARIANT: All pages of this and the first pages of `next` were prepared for the
            // purpose of both.
            self.done += next.done;
        }
        // INVARIANT: The pages are owned by this from here on, and each of both has a reference of
        // its own to each of its pages. `next` is not dropped.
        self.range.segment.pages += next.range.segment.pages;
        self.range.exposed |= next.range.exposed;
        mem::forget(next);
        Ok(())
    }

    /// Releases some pages, from the end of the range, and returns their number.
    ///
    /// Takes bounded time and does not sleep.
    pub(crate) fn release_step(&mut self) -> usize {
        let pages = self.range.segment.pages;
        let left = pages.saturating_sub(1) / RELEASE_STEP_PAGES * RELEASE_STEP_PAGES;
        self.range.truncate(left);
        // INVARIANT: Of the first `done` pages, those that are left are still prepared.
        self.done = self.done.min(left);
        pages - left
    }
}
