// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory: areas (CMA), and ranges of RAM outside of them.
//!
//! The kernel uses an area for movable pages only, so large contiguous ranges can be allocated from
//! it. In the other RAM such a range has to be found ([`Ram`]).
//!
//! The C side does all locking.
//!
//! C headers: [`include/linux/cma.h`](srctree/include/linux/cma.h),
//! [`include/linux/dma-map-ops.h`](srctree/include/linux/dma-map-ops.h)

mod preparation;
mod ram;

pub(crate) use preparation::{
    Preparation,
    Purpose, //
};
pub(crate) use ram::{
    Ram,
    RamUse,
    Wanted,
    Zone, //
};

use crate::{
    abstractions::{
        area_pages::{
            AreaPages,
            BatchDrain, //
        },
        kernel_symbol,
        memory_failure,
        phys_addr, //
    },
    bindings as c,
    decisions::{
        memory::{
            Caching,
            Memory, //
        },
        segment::{
            Extent,
            Segment, //
        }, //
    }, //
};
use core::{
    iter,
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    pr_warn_once,
    prelude::*,
    str::CStr, //
};

/// A contiguous memory area. The kernel never frees one.
///
/// # Examples
///
/// ```
/// use crate::abstractions::cma::Area;
///
/// for area in Area::all() {
///     assert!(!area.name().is_empty());
/// }
///
/// if let Some(area) = Area::default() {
///     assert!(Area::all().any(|other| other == area));
///     // No area has that many pages.
///     assert!(area.allocate(usize::MAX >> 1, 0).is_none());
///
///     let range = area.allocate(4, 2).ok_or(ENOMEM)?;
///     assert_eq!(range.segment().pages, 4);
///     assert_eq!(range.segment().pfn % 4, 0);
/// }
/// ```
///
/// # Invariants
///
/// `cma` is an area of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    cma: NonNull<c::cma>,
}

// SAFETY: An area is not bound to a thread. The C side does the locking.
unsafe impl Send for Area {}
// SAFETY: As above.
unsafe impl Sync for Area {}

impl Area {
    /// The maximum order to which the DMA interface aligns ranges.
    pub(crate) const MAX_ALIGN_ORDER: u32 = c::CMA_ALIGNMENT;

    /// Returns the default area, which devices without an area of their own use.
    pub(crate) fn default() -> Option<Self> {
        // SAFETY: The call accepts null for the device and then returns the default area.
        let cma = unsafe { c::dev_get_cma_area(ptr::null_mut()) };
        // INVARIANT: The call returns an area of the kernel or null.
        NonNull::new(cma).map(|cma| Self { cma })
    }

    /// Returns an iterator over all areas for devices, including the default area.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(|index| {
            // SAFETY: The call accepts any index.
            let cma = unsafe { c::dma_contiguous_get_area_by_idx(index) };
            // INVARIANT: The call returns an area of the kernel or null.
            NonNull::new(cma).map(|cma| Self { cma })
        })
    }

    /// Returns the area's name: that of its device-tree node if it has one.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: By the type invariants the area is valid. It is never freed, and its name never
        // changes.
        unsafe { CStr::from_char_ptr(c::cma_get_name(self.cma.as_ptr())) }
    }

    /// Returns the C structure.
    pub(crate) fn as_raw(&self) -> *mut c::cma {
        self.cma.as_ptr()
    }

    /// Allocates the first free range of `pages` pages at a multiple of `2^align` pages.
    ///
    /// May sleep, and migrates pages of other users. Returns `None` if the area has no such range
    /// or if pages cannot be migrated. The pages are not zeroed.
    pub(crate) fn allocate(&self, pages: usize, align: u32) -> Option<Range> {
        // SAFETY: By the type invariants the area is valid.
        let head = unsafe { c::cma_alloc(self.cma.as_ptr(), pages, align, true) };
        let head = NonNull::new(head)?;
        // SAFETY: The page was allocated above.
        let pfn = unsafe { c::page_to_pfn(head.as_ptr()) };
        // INVARIANT: The pages were allocated above from this area. Nobody else has seen them.
        Some(Range {
            area: Some(*self),
            segment: Segment { pfn, pages },
            exposed: false,
        })
    }
}

/// The functions that return the location of an area.
///
/// The kernel does not export them, so they are found by name.
///
/// # Examples
///
/// ```
/// use crate::abstractions::cma::{Area, AreaLookup};
///
/// if let Some(lookup) = AreaLookup::new() {
///     for area in Area::all() {
///         let extent = lookup.extent(area);
///         assert!(extent.size > 0);
///         assert_eq!(extent.base % 4096, 0);
///         let pages = lookup.pages(area).map_or(0, |pages| pages.uses(1).map(|(_, n)| n).sum());
///         assert_eq!(pages as u64 * 4096, extent.size);
///     }
/// }
/// ```
///
/// # Invariants
///
/// `cma_get_base()` and `cma_get_size()` were found.
pub(crate) struct AreaLookup {
    drain: BatchDrain,
}

impl AreaLookup {
    /// Looks up the functions.
    ///
    /// May sleep. Returns `None` if the kernel does not have them or has no kprobes.
    pub(crate) fn new() -> Option<Self> {
        let base = kernel_symbol::lookup(c"cma_get_base")?;
        let size = kernel_symbol::lookup(c"cma_get_size")?;
        // SAFETY: These are the functions' addresses.
        unsafe {
            c::found_cma_get_base(base.as_ptr());
            c::found_cma_get_size(size.as_ptr());
        }
        // INVARIANT: The functions were found by these names.
        Some(Self {
            drain: BatchDrain::new(),
        })
    }

    /// Returns the physical address and size of `area`.
    pub(crate) fn extent(&self, area: Area) -> Extent {
        let cma = area.cma.as_ptr();
        // SAFETY: By the type invariants the functions were found, and the area is valid.
        let (base, size) = unsafe { (c::cma_get_base(cma), c::cma_get_size(cma)) };
        Extent {
            base: phys_addr::to_u64(base),
            size: size as u64,
        }
    }

    /// Returns the function that empties the CPUs' batches of pages.
    pub(crate) fn batch_drain(&self) -> BatchDrain {
        self.drain
    }

    /// Returns the pages of `area`, or `None` if the area has no whole page.
    pub(crate) fn pages(&self, area: Area) -> Option<AreaPages> {
        let frames = self.extent(area).whole_pages().ok()?;
        // SAFETY: These are the page frames of the area.
        Some(unsafe { AreaPages::new(frames, self.drain) })
    }
}

/// A contiguous range of pages, allocated from an area or from RAM. Their content is unspecified.
///
/// Dropping it releases the pages. Does not sleep. Pages of an area to which another user still
/// holds a reference are leaked instead, with one warning: `cma_release()` would free such a page
/// nevertheless. Those of RAM are freed with the last reference. Pages whose memory
/// [has failed](memory_failure) are leaked too if they are of an area, and dropped by the page
/// allocator if they are of RAM.
///
/// # Invariants
///
/// - The pages of `segment` were allocated from `area` by `cma_alloc()`, or without an area from
///   RAM, each with a reference of its own. They are owned by this value, and have a `struct page`.
/// - If others may hold references to the pages, `exposed` is true.
#[must_use]
pub(crate) struct Range {
    area: Option<Area>,
    segment: Segment,
    exposed: bool,
}

impl Range {
    /// Returns the pages.
    pub(crate) fn segment(&self) -> Segment {
        self.segment
    }

    /// Returns whether another user holds a reference to a page of `part`, which is a part of the
    /// range. Does not sleep.
    fn is_shared(&self, part: Segment) -> bool {
        self.unshared_pages(part) < part.pages
    }

    /// Returns the number of pages of `part`, which is a part of the range, before the first one to
    /// which another user holds a reference. Does not sleep.
    fn unshared_pages(&self, part: Segment) -> usize {
        if !self.exposed {
            return part.pages;
        }
        // SAFETY: By the type invariants the range owns these pages, which have a `struct page`.
        unsafe { c::unshared_pages(c::pfn_to_page(part.pfn), part.pages) }
    }

    /// Returns the number of pages of `part`, which is a part of the range, before the first one
    /// that cannot be released, and whether that one's memory has failed. Does not sleep.
    fn releasable_pages(&self, part: Segment) -> (usize, bool) {
        let unshared = self.unshared_pages(part);
        if !memory_failure::is_possible() {
            return (unshared, false);
        }
        // What follows the first page that cannot be released is looked at when its turn comes.
        let intact = memory_failure::intact_pages(part.truncate(unshared.saturating_add(1)));
        (unshared.min(intact), intact <= unshared)
    }

    /// Releases all but the first `left` pages. Does not sleep.
    fn truncate(&mut self, left: usize) {
        if let Some(rest) = self.segment.skip(left) {
            match self.area {
                Some(area) => self.release_to(area, rest),
                // SAFETY: By the type invariants this value owns a reference to each page.
                None => unsafe { c::free_contig_range(rest.pfn, rest.pages) },
            }
        }
        // INVARIANT: The released pages are not part of the segment any more.
        self.segment = self.segment.truncate(left);
    }

    /// Releases `part`, which is a part of the range, to `area`, which is that of the range. Does
    /// not sleep.
    ///
    /// The bitmap of an area for devices has a bit for each page, so any part can be released.
    fn release_to(&self, area: Area, part: Segment) {
        let (mut rest, mut lost) = (Some(part), 0);
        while let Some(part) = rest {
            let (pages, has_failed) = self.releasable_pages(part);
            let free = part.truncate(pages);
            if free.pages > 0 {
                // SAFETY: By the type invariants the pages were allocated from the area, and this
                // value owns them.
                unsafe { c::cma_release(area.as_raw(), c::pfn_to_page(free.pfn), free.pages) };
            }
            // The page that follows, if any, is shared or has failed.
            lost += usize::from(free.pages < part.pages && !has_failed);
            rest = part.skip(free.pages + 1);
        }
        if lost > 0 {
            pr_warn_once!(
                "area {}: {} pages are lost, they were freed while a driver or a mapping refers to \
                 them; drop the references before the buffer or page array\n",
                area.name(),
                lost
            );
        }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

/// A range that can back a buffer.
///
/// # Invariants
///
/// The pages were zeroed after they were allocated, and prepared for `purpose`.
#[must_use]
pub(crate) struct PreparedRange {
    range: Range,
    purpose: Purpose,
}

impl PreparedRange {
    /// Returns what the range was prepared for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Returns the area of the pages, and `None` for pages of RAM.
    pub(crate) fn area(&self) -> Option<Area> {
        self.range.area
    }

    /// Converts to a range of unspecified content, for pages that were mapped.
    pub(crate) fn into_range(self) -> Range {
        // INVARIANT: The users of the pages may hold references to them.
        Range {
            area: self.range.area,
            segment: self.into_raw(),
            exposed: true,
        }
    }

    /// Releases ownership of the pages without freeing them. [`PreparedRange::from_raw`] acquires
    /// it again.
    pub(crate) fn into_raw(self) -> Segment {
        let segment = self.range.segment;
        mem::forget(self);
        segment
    }

    /// Acquires ownership of pages that are about to be freed, and may have been written to.
    ///
    /// # Safety
    ///
    /// `segment` must be the result of [`PreparedRange::into_raw`] for a range of `area`, or of RAM
    /// without an area, that was prepared for `purpose`, and this function must be called once for
    /// it.
    pub(crate) unsafe fn from_raw(area: Option<Area>, segment: Segment, purpose: Purpose) -> Self {
        // INVARIANT: By the safety requirements. The users of the pages may hold references.
        let range = Range {
            area,
            segment,
            exposed: true,
        };
        Self { range, purpose }
    }
}

// SAFETY: By the type invariants the range owns its pages, which were zeroed and may be mapped with
// its caching. Its segment never changes.
unsafe impl Memory for PreparedRange {
    type Segments<'a> = iter::Once<Segment>;

    fn segments(&self) -> Self::Segments<'_> {
        iter::once(self.range.segment)
    }

    fn pages(&self) -> usize {
        self.range.segment.pages
    }

    fn caching(&self) -> Caching {
        self.purpose.caching()
    }
}
