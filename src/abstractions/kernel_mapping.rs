// SPDX-License-Identifier: GPL-2.0

//! Memory, mapped at consecutive addresses of the kernel.
//!
//! C headers: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h),
//! [`include/linux/io.h`](srctree/include/linux/io.h)

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
    prelude::*, //
};

/// A mapping made by `vmap()` or, of frames without a `struct page`, by `ioremap_wc()`.
///
/// # Invariants
///
/// `address` was returned by the function that goes with `backing`, and was not unmapped.
pub(crate) struct KernelMapping {
    address: NonNull<c_void>,
    backing: Backing,
}

// SAFETY: The mapping is visible to every thread and may be undone by any that may sleep.
unsafe impl Send for KernelMapping {}
// SAFETY: A shared reference gives the address and no more.
unsafe impl Sync for KernelMapping {}

impl KernelMapping {
    /// Maps all of `memory`, as its caching says.
    ///
    /// May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory must stay as long as the mapping does.
    pub(crate) unsafe fn new(memory: &impl Memory) -> Result<Self> {
        match memory.backing() {
            Backing::Pages => {
                // SAFETY: The memory stays, as the caller promises, and its segments have pages.
                unsafe { Self::of_pages(memory.segments(), memory.pages(), memory.caching()) }
            }
            Backing::PfnOnly => {
                let segment = memory.segments().next().ok_or(EINVAL)?;
                // SAFETY: The memory stays, as the caller promises, and is one segment of frames.
                unsafe { Self::of_pfns(segment) }
            }
        }
    }

    /// Maps `segments`, `pages` pages in all.
    ///
    /// # Safety
    ///
    /// The memory must stay as long as the mapping does, be ready to be seen this way, and have a
    /// `struct page` each page.
    unsafe fn of_pages(
        segments: impl Iterator<Item = Segment>,
        pages: usize,
        caching: Caching,
    ) -> Result<Self> {
        let count = u32::try_from(pages)?;
        let mut list: KVVec<*mut bindings::page> = KVVec::with_capacity(pages, GFP_KERNEL)?;
        for segment in segments {
            for pfn in segment.pfn..segment.pfn + segment.pages {
                // SAFETY: The frames of the segment have a `struct page`, as the caller promises.
                list.push(unsafe { c::pfn_to_page(pfn) }, GFP_KERNEL)?;
            }
        }
        if list.len() != pages {
            return Err(EINVAL);
        }
        // SAFETY: `list` holds `count` valid pages.
        let address = unsafe {
            match caching {
                Caching::Cached => c::vmap_cached(list.as_mut_ptr(), count),
                Caching::WriteCombined => c::vmap_write_combined(list.as_mut_ptr(), count),
            }
        };
        // INVARIANT: `vmap()` made the mapping just now.
        Ok(Self {
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            backing: Backing::Pages,
        })
    }

    /// Maps `segment`, write-combined.
    ///
    /// May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The segment must be memory that stays as long as the mapping does and that the kernel keeps
    /// out of.
    pub(crate) unsafe fn of_pfns(segment: Segment) -> Result<Self> {
        // SAFETY: The frames are nobody else's to map, as the caller promises.
        let address = unsafe {
            c::ioremap_wc(
                segment.address() as bindings::resource_size_t,
                segment.bytes(),
            )
        };
        // INVARIANT: `ioremap_wc()` made the mapping just now.
        Ok(Self {
            address: NonNull::new(address.cast()).ok_or(ENOMEM)?,
            backing: Backing::PfnOnly,
        })
    }

    /// Fills the first `size` bytes with zeros.
    ///
    /// # Safety
    ///
    /// The mapping must have that many bytes, and nobody else may access them.
    pub(crate) unsafe fn fill_with_zeros(&mut self, size: usize) {
        // SAFETY: The mapping is valid by the type's invariant, and as large as the caller
        // promises.
        unsafe { self.address.as_ptr().cast::<u8>().write_bytes(0, size) };
    }

    /// Gives up ownership: whoever holds the address has to bring it back with
    /// [`KernelMapping::from_raw`].
    pub(crate) fn into_raw(self) -> *mut c_void {
        let address = self.address.as_ptr();
        core::mem::forget(self);
        address
    }

    /// Takes ownership again.
    ///
    /// # Safety
    ///
    /// `address` must come from [`KernelMapping::into_raw`], be that of memory with this backing,
    /// and be brought back only once.
    pub(crate) unsafe fn from_raw(address: NonNull<c_void>, backing: Backing) -> Self {
        // INVARIANT: As the caller promises.
        Self { address, backing }
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        // SAFETY: The function that goes with the backing made the mapping, by the type's
        // invariant.
        unsafe {
            match self.backing {
                Backing::Pages => c::vunmap(self.address.as_ptr().cast()),
                Backing::PfnOnly => c::iounmap(self.address.as_ptr().cast()),
            }
        }
    }
}

/// Maps `count` page frames from `pfn` on with protection `prot`, for a driver, which unmaps them
/// with `vunmap()`.
///
/// May sleep. Returns null where it fails.
///
/// # Safety
///
/// The frames must have a `struct page` and stay while they are mapped.
pub(crate) unsafe fn of_pfns_with(pfn: usize, count: u32, prot: bindings::pgprot_t) -> *mut c_void {
    let map = || {
        let mut list: KVVec<*mut bindings::page> =
            KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        let end = pfn.checked_add(count as usize).ok_or(EINVAL)?;
        for pfn in pfn..end {
            // SAFETY: As the caller promises.
            list.push(unsafe { c::pfn_to_page(pfn) }, GFP_KERNEL)?;
        }
        // SAFETY: `list` holds `count` valid pages.
        Ok::<_, Error>(unsafe { c::vmap(list.as_mut_ptr(), count, c::VM_MAP, prot) })
    };
    map().map_or(core::ptr::null_mut(), |address| address.cast())
}

/// The most that one call of the C functions below takes: an `int`, and whole pages.
const MAX_RANGE: usize = (i32::MAX as usize) & kernel::page::PAGE_MASK;

/// Makes what devices wrote visible through a kernel mapping. Only does something on CPUs whose
/// cache can hold the same memory twice, under two addresses.
///
/// # Safety
///
/// `address` must be that of a kernel mapping of at least `size` bytes.
pub(crate) unsafe fn invalidate(address: NonNull<c_void>, size: usize) {
    for offset in (0..size).step_by(MAX_RANGE) {
        let length = (size - offset).min(MAX_RANGE) as i32;
        // SAFETY: The range lies inside the mapping.
        unsafe {
            c::invalidate_kernel_vmap_range(address.as_ptr().byte_add(offset).cast(), length)
        };
    }
}

/// Makes what the CPU wrote through a kernel mapping visible to devices, on the same CPUs as
/// [`invalidate`].
///
/// # Safety
///
/// `address` must be that of a kernel mapping of at least `size` bytes.
pub(crate) unsafe fn flush(address: NonNull<c_void>, size: usize) {
    for offset in (0..size).step_by(MAX_RANGE) {
        let length = (size - offset).min(MAX_RANGE) as i32;
        // SAFETY: The range lies inside the mapping.
        unsafe { c::flush_kernel_vmap_range(address.as_ptr().byte_add(offset).cast(), length) };
    }
}
