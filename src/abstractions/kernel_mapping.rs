// SPDX-License-Identifier: GPL-2.0

//! Mappings of memory at consecutive kernel virtual addresses.
//!
//! # Huge entries
//!
//! Contiguous write-combined memory is mapped page by page. What the kernel exports for larger
//! entries refuses RAM: `ioremap()` on arm64 and 32-bit arm, `memremap()` for any attributes but
//! those of the linear map. `vmap()` and `apply_to_page_range()` make entries of one page, and
//! `vmap_pfn()` refuses page frames with a `struct page` besides. So such a mapping is
//! [kept](kept::keep) instead of made faster. Memory without a `struct page` gets huge entries by
//! `ioremap_wc()`.
//!
//! C headers: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h),
//! [`include/linux/io.h`](srctree/include/linux/io.h)

pub(crate) mod kept;

use crate::{
    bindings as c,
    decisions::{
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    page::{
        PAGE_MASK,
        PAGE_SHIFT, //
    },
    prelude::*, //
};

/// The largest range in bytes that one call of the C functions for aliasing caches accepts: their
/// length is an `int`, and it is rounded down to whole pages.
const MAX_RANGE: usize = (i32::MAX as usize) & PAGE_MASK;

/// What made a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is part of the kernel's linear map, and was there before.
    Linear,
    /// `vmap()`.
    Vmap,
    /// `ioremap_wc()`.
    Ioremap,
}

/// A kernel mapping: by `vmap()`, or by `ioremap_wc()` if the page frames have no `struct page`.
/// Cached memory in one segment is not mapped again: it has its address in the kernel's linear map,
/// unless it is high memory.
///
/// Behind the end of a mapping by `vmap()` is a guard page, which ends an access in an oops. Behind
/// a range of the linear map is other memory, as behind any buffer of `kmalloc()`.
///
/// Dropping it unmaps the memory, which may sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kernel_mapping::KernelMapping;
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
/// use crate::decisions::memory::{Caching, Memory};
/// use crate::decisions::segment::Segment;
/// use kernel::page::PAGE_SIZE;
///
/// struct Run(PageRun);
///
/// // SAFETY: The run owns its pages, which are zeroed and need no preparation for cached access.
/// unsafe impl Memory for Run {
///     type Segments<'a> = core::option::IntoIter<Segment>;
///
///     fn segments(&self) -> Self::Segments<'_> {
///         Some(self.0.segment()).into_iter()
///     }
///
///     fn pages(&self) -> usize {
///         self.0.pages()
///     }
///
///     fn caching(&self) -> Caching {
///         Caching::Cached
///     }
/// }
///
/// let run = Run(PageRun::allocate(1, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
/// // SAFETY: The mapping is dropped before the run is.
/// let mut mapping = unsafe { KernelMapping::new(&run) }?;
/// // SAFETY: The run has two pages, and the mapping is the only user of them.
/// unsafe { mapping.zero(2 * PAGE_SIZE) };
/// drop(mapping);
/// ```
///
/// # Invariants
///
/// The mapping at `address` has `bytes` bytes, and was made as `origin` says. Unless it is part of
/// the linear map, this value owns it.
#[must_use = "the memory is unmapped when this is dropped"]
pub(crate) struct KernelMapping {
    address: NonNull<c_void>,
    bytes: usize,
    origin: Origin,
}

// SAFETY: Any thread that may sleep may unmap a mapping.
unsafe impl Send for KernelMapping {}
// SAFETY: A shared reference gives no access to the mapping.
unsafe impl Sync for KernelMapping {}

impl KernelMapping {
    /// Maps all of `memory` with the caching that it asks for.
    ///
    /// May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory must outlive the mapping.
    pub(crate) unsafe fn new(memory: &impl Memory) -> Result<Self> {
        match memory.backing() {
            Backing::Pages => {
                // SAFETY: The memory outlives the mapping by the safety requirements, and its pages
                // have a `struct page`.
                unsafe {
                    match Self::in_linear_map(memory) {
                        Some(mapping) => Ok(mapping),
                        None => {
                            Self::map_pages(memory.segments(), memory.pages(), memory.caching())
                        }
                    }
                }
            }
            Backing::PfnOnly => {
                let segment = memory.segments().next().ok_or(EINVAL)?;
                // SAFETY: The memory outlives the mapping by the safety requirements. It is one
                // segment of page frames that the kernel does not access.
                unsafe { Self::map_pfns(segment) }
            }
        }
    }

    /// Returns the mapping of `memory` in the linear map, if it is all there, at consecutive
    /// addresses and with the right caching. Does not sleep.
    ///
    /// # Safety
    ///
    /// The memory must outlive the mapping, and each of its pages must have a `struct page`.
    unsafe fn in_linear_map(memory: &impl Memory) -> Option<Self> {
        let segment = memory.segments().next()?;
        if memory.caching() != Caching::Cached || segment.pages != memory.pages() {
            return None;
        }
        // SAFETY: The page frames have a `struct page` by the safety requirements.
        let address = unsafe { c::linear_address(segment.pfn, segment.pages) };
        // INVARIANT: The linear map never changes.
        Some(Self {
            address: NonNull::new(address.cast())?,
            bytes: segment.bytes(),
            origin: Origin::Linear,
        })
    }

    /// Maps `segments`, which have `count` pages in total.
    ///
    /// # Safety
    ///
    /// The memory must outlive the mapping, must be prepared for access with `caching`, and each of
    /// its pages must have a `struct page`.
    unsafe fn map_pages(
        segments: impl Iterator<Item = Segment>,
        count: usize,
        caching: Caching,
    ) -> Result<Self> {
        let c_count = u32::try_from(count)?;
        let mut pages: KVVec<*mut bindings::page> = KVVec::with_capacity(count, GFP_KERNEL)?;
        for segment in segments {
            for pfn in segment.pfn..segment.pfn + segment.pages {
                // SAFETY: The page frame has a `struct page` by the safety requirements.
                pages.push(unsafe { c::pfn_to_page(pfn) }, GFP_KERNEL)?;
            }
        }
        if pages.len() != count {
            return Err(EINVAL);
        }
        // SAFETY: `pages` holds `c_count` valid pages.
        let address = unsafe {
            match caching {
                Caching::Cached => c::vmap_cached(pages.as_mut_ptr(), c_count),
                Caching::WriteCombined => c::vmap_write_combined(pages.as_mut_ptr(), c_count),
            }
        };
        // INVARIANT: `vmap()` created the mapping, and this value is its only owner.
        Ok(Self {
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            bytes: count << PAGE_SHIFT,
            origin: Origin::Vmap,
        })
    }

    /// Maps `segment` write-combined.
    ///
    /// May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The segment must be memory that outlives the mapping and that is not in the kernel's linear
    /// mapping.
    pub(crate) unsafe fn map_pfns(segment: Segment) -> Result<Self> {
        // SAFETY: The memory has no mapping with other attributes by the safety requirements.
        let address = unsafe {
            c::ioremap_wc(
                segment.address() as bindings::resource_size_t,
                segment.bytes(),
            )
        };
        // INVARIANT: `ioremap_wc()` created the mapping, and this value is its only owner.
        Ok(Self {
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            bytes: segment.bytes(),
            origin: Origin::Ioremap,
        })
    }

    /// Zeroes the first `size` bytes.
    ///
    /// # Safety
    ///
    /// The mapping must have at least `size` bytes. Nothing else may access them during the call.
    pub(crate) unsafe fn zero(&mut self, size: usize) {
        // SAFETY: The mapping exists by the type invariant and has `size` bytes by the safety
        // requirements.
        unsafe { self.address.as_ptr().cast::<u8>().write_bytes(0, size) };
    }

    /// Returns the address. The memory is mapped there as long as `self`.
    pub(crate) fn address(&self) -> *mut c_void {
        self.address.as_ptr()
    }

    /// Returns whether the mapping is part of the linear map: making and dropping it costs nothing,
    /// and the DMA interface keeps it coherent.
    pub(crate) fn is_linear(&self) -> bool {
        self.origin == Origin::Linear
    }

    /// Returns the size in pages.
    fn pages(&self) -> usize {
        self.bytes >> PAGE_SHIFT
    }

    /// Makes data written by devices visible through the mapping.
    ///
    /// Has an effect only on CPUs with an aliasing cache. Does not sleep.
    pub(crate) fn invalidate(&self) {
        self.for_each_part(|address, length| {
            // SAFETY: The range is inside the mapping.
            unsafe { c::invalidate_kernel_vmap_range(address.cast(), length) };
        });
    }

    /// Makes data written by the CPU through the mapping visible to devices.
    ///
    /// Has an effect only on CPUs with an aliasing cache. Does not sleep.
    pub(crate) fn flush(&self) {
        self.for_each_part(|address, length| {
            // SAFETY: The range is inside the mapping.
            unsafe { c::flush_kernel_vmap_range(address.cast(), length) };
        });
    }

    /// Calls `f` for the start and the length of each part, of at most [`MAX_RANGE`] bytes.
    fn for_each_part(&self, f: impl Fn(*mut c_void, i32)) {
        if self.is_linear() {
            return;
        }
        for offset in (0..self.bytes).step_by(MAX_RANGE) {
            let length = (self.bytes - offset).min(MAX_RANGE) as i32;
            f(self.address.as_ptr().wrapping_byte_add(offset), length);
        }
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the mapping, which was created by the
        // counterpart of the function called here.
        unsafe {
            match self.origin {
                Origin::Linear => {}
                Origin::Vmap => c::vunmap(self.address.as_ptr().cast()),
                Origin::Ioremap => c::iounmap(self.address.as_ptr().cast()),
            }
        }
    }
}

/// Maps `count` consecutive page frames from `pfn` on with protection `prot`. The caller unmaps
/// them with `vunmap()`.
///
/// May sleep. Returns null on failure, and if only some of the page frames have a `struct page`.
///
/// # Safety
///
/// The page frames must not be freed while they are mapped. Those without a `struct page` must be
/// memory or registers that may be mapped with this protection.
pub(crate) unsafe fn vmap_contiguous(
    pfn: usize,
    count: u32,
    prot: bindings::pgprot_t,
) -> *mut c_void {
    let map = || {
        let end = pfn.checked_add(count as usize).ok_or(EINVAL)?;
        // SAFETY: The call has no requirements.
        if !unsafe { c::pfn_valid(pfn) } {
            // SAFETY: The caller promises that the page frames may be mapped.
            return Ok(unsafe { c::vmap_frames(pfn, count, prot) });
        }
        let mut pages: KVVec<*mut bindings::page> =
            KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for pfn in pfn..end {
            // SAFETY: The call has no requirements.
            if !unsafe { c::pfn_valid(pfn) } {
                return Err(EINVAL);
            }
            // SAFETY: The page frame has a `struct page`.
            pages.push(unsafe { c::pfn_to_page(pfn) }, GFP_KERNEL)?;
        }
        // SAFETY: `pages` holds `count` valid pages.
        Ok::<_, Error>(unsafe { c::vmap(pages.as_mut_ptr(), count, c::VM_MAP, prot) })
    };
    map().map_or(core::ptr::null_mut(), |address| address.cast())
}
