// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory areas: regions that the kernel keeps so free of what cannot be moved that
//! large contiguous ranges can be had from them.
//!
//! C headers: [`include/linux/cma.h`](srctree/include/linux/cma.h),
//! [`include/linux/dma-map-ops.h`](srctree/include/linux/dma-map-ops.h)

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        kernel_symbol,
        phys_addr,
        signal, //
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
    ffi::c_void,
    iter,
    mem::{
        self,
        transmute, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    ffi::c_ulong,
    prelude::*,
    str::CStr, //
};

/// Pages that are zeroed without looking at signals: 1 MiB, with 4 KiB pages.
const ZERO_STEP: usize = 256;

/// An area. The kernel never gives one up.
///
/// # Invariants
///
/// `cma` is an area of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    cma: NonNull<c::cma>,
}

// SAFETY: The C side does the locking.
unsafe impl Send for Area {}
// SAFETY: As above.
unsafe impl Sync for Area {}

impl Area {
    /// The largest order that the kernel aligns ranges to by itself.
    pub(crate) const LARGEST_ALIGN: u32 = c::CMA_ALIGNMENT;

    /// The area that devices without one of their own use, if there is one.
    pub(crate) fn default() -> Option<Self> {
        // SAFETY: Without a device, the call looks at one variable.
        let cma = unsafe { c::dev_get_cma_area(core::ptr::null_mut()) };
        // INVARIANT: An area of the kernel.
        NonNull::new(cma).map(|cma| Self { cma })
    }

    /// All areas for devices, the default one among them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(|index| {
            // SAFETY: Any index may be asked for.
            let cma = unsafe { c::dma_contiguous_get_area_by_idx(index) };
            // INVARIANT: An area of the kernel.
            NonNull::new(cma).map(|cma| Self { cma })
        })
    }

    /// The area's name: that of its device-tree node, if it has one.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: The area is the kernel's, by the type's invariant, and its name never changes.
        unsafe { CStr::from_char_ptr(c::cma_get_name(self.cma.as_ptr())) }
    }

    /// The C structure.
    pub(crate) fn as_raw(&self) -> *mut c::cma {
        self.cma.as_ptr()
    }

    /// Allocates `pages` pages, the first that are free and can be had, beginning at a multiple of
    /// `2^align` pages.
    ///
    /// May sleep, and moves other users' pages out of the way. The pages hold whatever was there
    /// before.
    pub(crate) fn allocate(&self, pages: usize, align: u32) -> Option<Range> {
        // SAFETY: The area is the kernel's, by the type's invariant.
        let head = unsafe { c::cma_alloc(self.cma.as_ptr(), pages, align, true) };
        let head = NonNull::new(head)?;
        // SAFETY: The page was just allocated.
        let pfn = unsafe { c::page_to_pfn(head.as_ptr()) };
        // INVARIANT: Just allocated from this area.
        Some(Range {
            area: *self,
            segment: Segment { pfn, pages },
        })
    }
}

/// The functions that tell where an area lies. They are not exported, so they are looked up by
/// name.
///
/// # Invariants
///
/// `base` is `cma_get_base()` and `size` is `cma_get_size()`.
pub(crate) struct AreaLookup {
    base: unsafe extern "C" fn(*const c::cma) -> bindings::phys_addr_t,
    size: unsafe extern "C" fn(*const c::cma) -> c_ulong,
}

impl AreaLookup {
    /// Looks the functions up; `None` where the kernel does not have them. May sleep.
    pub(crate) fn new() -> Option<Self> {
        let base = kernel_symbol::address(c"cma_get_base")?;
        let size = kernel_symbol::address(c"cma_get_size")?;
        // INVARIANT: Found by their names. SAFETY: In every kernel that this is built for, the
        // functions of these names have these types.
        Some(unsafe {
            Self {
                base: transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(*const c::cma) -> bindings::phys_addr_t,
                >(base),
                size: transmute::<NonNull<c_void>, unsafe extern "C" fn(*const c::cma) -> c_ulong>(
                    size,
                ),
            }
        })
    }

    /// Where `area` lies.
    pub(crate) fn extent(&self, area: Area) -> Extent {
        // SAFETY: By the types' invariants these are the kernel's functions, and this is the
        // kernel's area.
        let (base, size) = unsafe {
            (
                (self.base)(area.cma.as_ptr()),
                (self.size)(area.cma.as_ptr()),
            )
        };
        Extent {
            base: phys_addr::to_u64(base),
            size: size as u64,
        }
    }
}

/// Pages that were allocated from an area, and go back there.
///
/// # Invariants
///
/// `segment` was allocated from `area` by `cma_alloc()`, as a whole, and is owned by this value.
pub(crate) struct Range {
    area: Area,
    segment: Segment,
}

impl Range {
    /// Fills the range with zeros and makes it ready to be seen with `caching`.
    ///
    /// May sleep. Fails with `EINTR` where a fatal signal comes, or as [`Cleaner::clean`] does.
    pub(crate) fn make_ready(self, caching: Caching, cleaner: &Cleaner) -> Result<ReadyRange> {
        for part in self.segment.parts(ZERO_STEP) {
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            // SAFETY: The range owns these pages.
            unsafe { c::clear_pages(c::pfn_to_page(part.pfn), part.pages) };
        }
        if caching == Caching::WriteCombined {
            // SAFETY: As above.
            unsafe { cleaner.clean(self.segment) }?;
        }
        // INVARIANT: The pages were just zeroed, and cleaned where that is needed.
        Ok(ReadyRange {
            range: self,
            caching,
        })
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the pages were allocated from the area as a whole, and
        // nobody uses them any more.
        unsafe {
            c::cma_release(
                self.area.cma.as_ptr(),
                c::pfn_to_page(self.segment.pfn),
                self.segment.pages,
            )
        };
    }
}

/// A range that can be handed out.
///
/// # Invariants
///
/// The pages were zeroed after they were allocated, and are ready to be seen with `caching`.
pub(crate) struct ReadyRange {
    range: Range,
    caching: Caching,
}

impl ReadyRange {
    /// The area that the pages come from.
    pub(crate) fn area(&self) -> Area {
        self.range.area
    }

    /// The pages.
    pub(crate) fn segment(&self) -> Segment {
        self.range.segment
    }

    /// The range, as it is when somebody has written to it.
    pub(crate) fn into_used(self) -> Range {
        self.range
    }

    /// Gives up ownership of the pages, which [`ReadyRange::from_raw`] takes again.
    pub(crate) fn into_raw(self) -> Segment {
        let segment = self.range.segment;
        mem::forget(self);
        segment
    }

    /// Takes ownership again, of pages that are to be given back.
    ///
    /// # Safety
    ///
    /// `segment` must come from [`ReadyRange::into_raw`] of a range of `area` that was ready for
    /// `caching`, and be brought back only once.
    pub(crate) unsafe fn from_raw(area: Area, segment: Segment, caching: Caching) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            range: Range { area, segment },
            caching,
        }
    }
}

// SAFETY: The range owns its pages, which do not change. They were zeroed and are ready, by the
// type's invariant.
unsafe impl Memory for ReadyRange {
    type Segments<'a> = iter::Once<Segment>;

    fn segments(&self) -> Self::Segments<'_> {
        iter::once(self.range.segment)
    }

    fn pages(&self) -> usize {
        self.range.segment.pages
    }

    fn caching(&self) -> Caching {
        self.caching
    }
}
