// SPDX-License-Identifier: GPL-2.0

//! The function names of Rockchip's kernels, for the heaps of `/dev/rk_dma_heap`.

use super::{
    into_fd,
    into_pointer,
    new_request,
    new_rockchip_request,
    optional_str,
    put_buffer,
    warn_unbalanced, //
};
use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        dma_device, //
    },
    bindings as c,
    decisions::request::Request,
    rockchip, //
};
use core::{
    ffi::c_void,
    ptr,
    slice, //
};
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef,
    warn_on, //
};

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_find(name: *const c_char) -> *mut c::rk_dma_heap {
    // SAFETY: The caller promises this.
    unsafe { optional_str(name) }
        .and_then(rockchip::find)
        .unwrap_or(ptr::null_mut())
}

#[no_mangle]
extern "C" fn rk_dma_heap_put(heap: *mut c::rk_dma_heap) {
    if !heap.is_null() && !rockchip::put(heap) {
        warn_unbalanced();
    }
}

/// # Safety
///
/// `device` must be null or a device that is not used for DMA during the call.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_set_dev(device: *mut bindings::device) -> c_int {
    if device.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: The caller promises that the device is valid and not used for DMA.
    match unsafe { dma_device::remove_dma_limits(device) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

fn allocate(
    heap: *mut c::rk_dma_heap,
    request: Result<Request>,
    name: Option<&CStr>,
) -> Result<ARef<DmaBuf>> {
    rockchip::lookup(heap)
        .ok_or(EINVAL)?
        .allocate_named(request?, name)
}

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_buffer_alloc(
    heap: *mut c::rk_dma_heap,
    size: usize,
    fd_flags: c_uint,
    heap_flags: c_uint,
    name: *const c_char,
) -> *mut bindings::dma_buf {
    let request = new_rockchip_request(size, fd_flags, heap_flags);
    // SAFETY: The caller promises this.
    into_pointer(allocate(heap, request, unsafe { optional_str(name) }))
}

/// # Safety
///
/// `buffer` must be a return value of `rk_dma_heap_buffer_alloc()` that the caller does not use
/// afterwards.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_buffer_free(buffer: *mut bindings::dma_buf) {
    // SAFETY: The caller promises this.
    unsafe { put_buffer(buffer) };
}

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_bufferfd_alloc(
    heap: *mut c::rk_dma_heap,
    size: usize,
    fd_flags: c_uint,
    heap_flags: c_uint,
    name: *const c_char,
) -> c_int {
    let request = new_rockchip_request(size, fd_flags, heap_flags);
    // SAFETY: The caller promises this.
    let buffer = allocate(heap, request, unsafe { optional_str(name) });
    into_fd(buffer, request)
}

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_alloc_contig_pages(
    heap: *mut c::rk_dma_heap,
    size: usize,
    name: *const c_char,
) -> *mut bindings::page {
    // SAFETY: The caller promises this.
    let name = unsafe { optional_str(name) };
    let contiguous = rockchip::lookup(heap).filter(|heap| heap.is_contiguous());
    let Some(heap) = contiguous else {
        warn_on!(true);
        return EINVAL.to_ptr();
    };
    match new_request(size, 0, 0).and_then(|request| heap.allocate_contiguous(request, name)) {
        Ok(page) => page.as_ptr(),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// `pages` must be null, an `ERR_PTR()` or a page that is not used afterwards. `name` must be null
/// or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_free_contig_pages(
    heap: *mut c::rk_dma_heap,
    pages: *mut bindings::page,
    size: usize,
    name: *const c_char,
) {
    let free = || {
        let heap = rockchip::lookup(heap).ok_or(EINVAL)?;
        let request = new_request(size, 0, 0)?;
        let pages = kernel::error::from_err_ptr(pages)?;
        if pages.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The caller promises this.
        unsafe { heap.free_contiguous(pages, request, optional_str(name)) }
    };
    warn_on!(free().is_err());
}

/// # Safety
///
/// `pages` must be null or an array of `size >> PAGE_SHIFT` pointers that nothing else uses during
/// the call. `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_alloc_pages(
    heap: *mut c::rk_dma_heap,
    pages: *mut *mut bindings::page,
    size: usize,
    flags: bindings::gfp_t,
    name: *const c_char,
) -> c_int {
    let count = size >> PAGE_SHIFT;
    if pages.is_null() || count == 0 {
        return EINVAL.to_errno();
    }
    let Some(heap) = rockchip::lookup(heap) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The caller promises that the array has this size and no other user. All bit patterns
    // are valid.
    let pages = unsafe { slice::from_raw_parts_mut(pages, count) };
    // SAFETY: The caller promises this.
    match heap.allocate_singles(pages, flags, unsafe { optional_str(name) }) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// `pages` must be null or an array of `count` pointers that nothing else uses during the call.
/// Each must be null or a page of [`rk_dma_heap_alloc_pages`] that is not used afterwards.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_free_pages(
    heap: *mut c::rk_dma_heap,
    pages: *mut *mut bindings::page,
    count: c_uint,
) {
    if pages.is_null() || count == 0 {
        return;
    }
    let free = || {
        let heap = rockchip::lookup(heap).ok_or(EINVAL)?;
        // SAFETY: The caller promises that the array has this size and no other user.
        let pages = unsafe { slice::from_raw_parts_mut(pages, count as usize) };
        // SAFETY: The caller promises that it owns the pages.
        unsafe { heap.free_singles(pages) }
    };
    warn_on!(free().is_err());
}

/// # Safety
///
/// `info` must be null or valid, and its operations valid until the returned pointer is put or
/// their module is unloaded.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_add(
    info: *const c::rk_dma_heap_export_info,
) -> *mut c::rk_dma_heap {
    let add = || {
        // SAFETY: The caller promises this.
        let info = unsafe { info.as_ref() }.ok_or(EINVAL)?;
        // SAFETY: The caller promises that this is null or a C string.
        let name = unsafe { optional_str(info.name) }
            .filter(|name| !name.is_empty())
            .ok_or(EINVAL)?;
        // SAFETY: The caller promises this.
        unsafe { rockchip::add_driver(name, info) }
    };
    match add() {
        Ok(heap) => heap,
        Err(error) => error.to_ptr(),
    }
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_drvdata(heap: *mut c::rk_dma_heap) -> *mut c_void {
    rockchip::with(heap, |heap| heap.drvdata()).unwrap_or(ptr::null_mut())
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_dev(heap: *mut c::rk_dma_heap) -> *mut bindings::device {
    rockchip::with(heap, |heap| heap.device().device()).unwrap_or(ptr::null_mut())
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_name(heap: *mut c::rk_dma_heap) -> *const c_char {
    rockchip::with(heap, |heap| heap.name().as_char_ptr()).unwrap_or(ptr::null())
}

#[no_mangle]
extern "C" fn rk_dma_heap_total_inc(heap: *mut c::rk_dma_heap, size: usize) {
    rockchip::with(heap, |heap| heap.add_to_total(size));
}

#[no_mangle]
extern "C" fn rk_dma_heap_total_dec(heap: *mut c::rk_dma_heap, size: usize) {
    rockchip::with(heap, |heap| heap.subtract_from_total(size));
}

/// Fails: an area can be set up in early boot only, before there are modules.
#[no_mangle]
extern "C" fn rk_dma_heap_cma_setup() -> c_int {
    ENODEV.to_errno()
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_cma() -> *mut c::cma {
    rockchip::own_heap()
        .and_then(|heap| heap.area())
        .map_or(ptr::null_mut(), |area| area.as_raw())
}

/// # Safety
///
/// The page frames must be memory that is valid while it is mapped, or registers.
#[no_mangle]
unsafe extern "C" fn rk_vmap_contig_pfn(
    pfn: c_ulong,
    count: c_uint,
    prot: bindings::pgprot_t,
) -> *mut c_void {
    // SAFETY: The caller promises this.
    unsafe { crate::abstractions::kernel_mapping::vmap_contiguous(pfn, count, prot) }
}
