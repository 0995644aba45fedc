// SPDX-License-Identifier: GPL-2.0

//! Allocating from a heap and freeing, by the owner of its memory.

use super::{
    Backing,
    RkHeap,
    Role, //
};
use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        single_pages,
        task, //
    },
    bindings as c,
    decisions::request::Request,
    watermarks, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    str::CString,
    sync::aref::ARef, //
};

impl RkHeap {
    /// Allocates a dma-buf named `name`, by default after the calling thread.
    ///
    /// May sleep. Fails with `EINVAL` if the heap has no buffers, with `ENODEV` if its driver has
    /// removed it, and as [`Heap::allocate`] or the driver's operation does.
    pub(crate) fn allocate_named(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<ARef<DmaBuf>> {
        match &self.backing {
            Backing::Own { heap, .. } => {
                let buffer = heap.allocate(request)?;
                match name {
                    Some(name) => buffer.set_name(name.to_bytes())?,
                    None => buffer.set_name(task::Comm::current().as_bytes())?,
                }
                Ok(buffer)
            }
            Backing::SinglePages { .. } => Err(EINVAL),
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter_allocation()?;
                let allocate = call.ops.allocate.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                let buffer = unsafe {
                    allocate(
                        self.handle(Role::Adder),
                        request.size(),
                        request.flags() as usize,
                        request.heap_flags() as usize,
                        name,
                    )
                };
                let buffer = NonNull::new(from_err_ptr(buffer)?).ok_or(ENOMEM)?;
                // SAFETY: The operation returns a dma-buf with a reference, which is passed to the
                // caller.
                Ok(unsafe { ARef::from_raw(buffer.cast()) })
            }
        }
    }

    /// Allocates a page array of `request`'s size for `name`, by default for the calling thread.
    ///
    /// May sleep. Fails with `EINVAL` if the heap is not contiguous, with `ENODEV` if its driver
    /// has removed it, and otherwise as [`Contiguous::allocate_pages`] or the driver's operation
    /// does.
    pub(crate) fn allocate_contiguous(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<NonNull<bindings::page>> {
        match &self.backing {
            Backing::Own { heap, arrays } => {
                let owner = match name {
                    Some(name) => CString::try_from(name)?,
                    None => task::current_comm()?,
                };
                let pages = request.size() >> PAGE_SHIFT;
                let range = heap.allocate_pages(pages)?;
                let segment = arrays.insert(range, pages, owner)?;
                // SAFETY: The segment was just allocated, so its page frames exist.
                NonNull::new(unsafe { c::pfn_to_page(segment.pfn) }).ok_or(ENOMEM)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter_allocation()?;
                let allocate = call.ops.alloc_contig_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                let page = unsafe { allocate(self.handle(Role::Adder), request.size(), name) };
                NonNull::new(from_err_ptr(page)?).ok_or(ENOMEM)
            }
            Backing::SinglePages { .. } | Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Frees the page array of `request`'s size that begins with `page`.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, if the module has not allocated such an
    /// array. Fails with `ENODEV` if the heap's driver has removed it.
    ///
    /// # Safety
    ///
    /// `page` must be a page, and the array must not be used afterwards.
    pub(crate) unsafe fn free_contiguous(
        &self,
        page: *mut bindings::page,
        request: Request,
        name: Option<&CStr>,
    ) -> Result {
        match &self.backing {
            Backing::Own { arrays, .. } => {
                // SAFETY: The caller promises that `page` is a page.
                let pfn = unsafe { c::page_to_pfn(page) };
                arrays.remove(pfn, request.size() >> PAGE_SHIFT)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter()?;
                let free = call.ops.free_contig_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                unsafe { free(self.handle(Role::Adder), page, request.size(), name) };
                Ok(())
            }
            Backing::SinglePages { .. } | Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Allocates a zeroed page for each element of `pages`.
    ///
    /// May sleep if `flags` permit it. Fails with `EINVAL` if the heap has no single pages, with
    /// `ENODEV` if its driver has removed it, with `ENOMEM`, and as the driver's operation does.
    pub(crate) fn allocate_singles(
        &self,
        pages: &mut [*mut bindings::page],
        flags: bindings::gfp_t,
        name: Option<&CStr>,
    ) -> Result {
        match &self.backing {
            Backing::SinglePages { limit, kept } => {
                let may_fail = single_pages::reclaims_and_may_fail(flags);
                if pages.len() > *limit || may_fail && !watermarks::can_exist(pages.len(), &**kept)
                {
                    return Err(ENOMEM);
                }
                single_pages::allocate(pages, flags, || match may_fail {
                    // Pages of drivers are not counted as a loan would be.
                    true => watermarks::ensure_whole_reserve(&**kept),
                    false => Ok(()),
                })?;
                self.add_to_total(pages.len() << PAGE_SHIFT);
                Ok(())
            }
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter_allocation()?;
                let allocate = call.ops.alloc_pages.ok_or(EINVAL)?;
                let size = pages.len() << PAGE_SHIFT;
                // SAFETY: The operation is valid during the call. The array has an element for each
                // page of the size.
                to_result(unsafe {
                    allocate(
                        self.handle(Role::Adder),
                        pages.as_mut_ptr(),
                        size,
                        flags,
                        name,
                    )
                })
            }
            Backing::Own { .. } => Err(EINVAL),
        }
    }

    /// Frees each page of `pages`, and writes null there. Fails with `EINVAL` if the heap has no
    /// single pages, and with `ENODEV` if its driver has removed it.
    ///
    /// # Safety
    ///
    /// Each element must be null or a page of [`RkHeap::allocate_singles`] that the caller owns.
    pub(crate) unsafe fn free_singles(&self, pages: &mut [*mut bindings::page]) -> Result {
        match &self.backing {
            Backing::SinglePages { .. } => {
                let count = pages.iter().filter(|page| !page.is_null()).count();
                // SAFETY: The caller promises this.
                unsafe { single_pages::free(pages) };
                self.subtract_from_total(count << PAGE_SHIFT);
                Ok(())
            }
            Backing::Driver(driver) => {
                let count = u32::try_from(pages.len())?;
                let call = driver.enter()?;
                let free = call.ops.free_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                unsafe { free(self.handle(Role::Adder), pages.as_mut_ptr(), count) };
                pages.fill(ptr::null_mut());
                Ok(())
            }
            Backing::Own { .. } => Err(EINVAL),
        }
    }
}
