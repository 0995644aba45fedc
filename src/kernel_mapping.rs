// SPDX-License-Identifier: GPL-2.0

//! Scattered memory, mapped at consecutive addresses of the kernel.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::{
    bindings as c,
    memory::{Caching, Segment},
};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{bindings, prelude::*};

/// A mapping made by `vmap()`.
///
/// # Invariants
///
/// `address` was returned by `vmap()` and was not unmapped.
pub(crate) struct KernelMapping {
    address: NonNull<c_void>,
}

// SAFETY: The mapping is visible to every thread and may be undone by any that may sleep.
unsafe impl Send for KernelMapping {}
// SAFETY: A shared reference gives the address and no more.
unsafe impl Sync for KernelMapping {}

impl KernelMapping {
    /// Maps `segments`, `pages` pages in all.
    ///
    /// May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The memory must stay as long as the mapping does, and be ready to be seen this way.
    pub(crate) unsafe fn new(
        segments: impl Iterator<Item = Segment>,
        pages: usize,
        caching: Caching,
    ) -> Result<Self> {
        let count = u32::try_from(pages)?;
        let mut list: KVVec<*mut bindings::page> = KVVec::with_capacity(pages, GFP_KERNEL)?;
        for segment in segments {
            for frame in segment.frame..segment.frame + segment.pages {
                // SAFETY: The frames of a segment have a `struct page`.
                list.push(unsafe { c::pfn_to_page(frame) }, GFP_KERNEL)?;
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
        })
    }

    /// Gives up ownership: whoever holds the address has to bring it back with [`KernelMapping::from_raw`].
    pub(crate) fn into_raw(self) -> *mut c_void {
        let address = self.address.as_ptr();
        core::mem::forget(self);
        address
    }

    /// Takes ownership again.
    ///
    /// # Safety
    ///
    /// `address` must come from [`KernelMapping::into_raw`] and be brought back only once.
    pub(crate) unsafe fn from_raw(address: NonNull<c_void>) -> Self {
        // INVARIANT: As the caller promises.
        Self { address }
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        // SAFETY: `vmap()` made the mapping, by the type's invariant.
        unsafe { c::vunmap(self.address.as_ptr().cast()) };
    }
}

/// The most that one call of the C functions below takes: an `int`, and whole pages.
const MAX_RANGE: usize = (i32::MAX as usize) & kernel::page::PAGE_MASK;

/// Makes what devices wrote visible through a kernel mapping. Only does something on CPUs whose cache can hold the same
/// memory twice, under two addresses.
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

/// Makes what the CPU wrote through a kernel mapping visible to devices, on the same CPUs as [`invalidate`].
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
