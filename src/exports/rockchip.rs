// SPDX-License-Identifier: GPL-2.0

//! The function names of Rockchip's kernels, for the heaps of `/dev/rk_dma_heap`.

use super::{
    get_module,
    into_fd,
    into_pointer,
    new_request,
    optional_str,
    put_buffer,
    put_module, //
};
use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        dma_device, //
    },
    bindings as c,
    decisions::request::Request,
    rockchip::{
        self,
        DriverHeap,
        RkHeap, //
    }, //
};
use core::{
    ffi::c_void,
    ptr, //
};
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong, //
    },
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
    let heap = unsafe { optional_str(name) }.and_then(rockchip::find);
    if heap.is_some() {
        get_module();
    }
    heap.unwrap_or(ptr::null_mut())
}

#[no_mangle]
extern "C" fn rk_dma_heap_put(heap: *mut c::rk_dma_heap) {
    if rockchip::put(heap) {
        put_module();
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
    let request = new_request(size, fd_flags, u64::from(heap_flags));
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
    let request = new_request(size, fd_flags, u64::from(heap_flags));
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
    match new_request(size, 0, 0).and_then(|request| heap.allocate_pages(request, name)) {
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
        unsafe { heap.free_pages(pages, request, optional_str(name)) }
    };
    warn_on!(free().is_err());
}

/// # Safety
///
/// `info` must be null or valid, and its operations valid until the heap's last reference is put.
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
        let heap = unsafe { DriverHeap::new(info) }?;
        rockchip::add_driver(name, heap)
    };
    match add() {
        Ok(heap) => {
            get_module();
            heap
        }
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// The caller must hold a reference to `heap`.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_get_drvdata(heap: *mut c::rk_dma_heap) -> *mut c_void {
    // SAFETY: The caller's reference keeps the heap alive.
    unsafe { RkHeap::from_raw(heap) }.drvdata()
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_dev(_heap: *mut c::rk_dma_heap) -> *mut bindings::device {
    rockchip::device().map_or(ptr::null_mut(), |device| device.device())
}

/// # Safety
///
/// The caller must hold a reference to `heap`.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_get_name(heap: *mut c::rk_dma_heap) -> *const c_char {
    // SAFETY: The caller's reference keeps the heap, and so its name, alive.
    unsafe { RkHeap::from_raw(heap) }.name().as_char_ptr()
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_cma() -> *mut c::cma {
    rockchip::own_heap()
        .and_then(|heap| heap.area())
        .map_or(ptr::null_mut(), |area| area.as_raw())
}

/// # Safety
///
/// The page frames must be memory that is valid while it is mapped.
#[no_mangle]
unsafe extern "C" fn rk_vmap_contig_pfn(
    pfn: c_ulong,
    count: c_uint,
    prot: bindings::pgprot_t,
) -> *mut c_void {
    // SAFETY: The caller promises this.
    unsafe { crate::abstractions::kernel_mapping::vmap_contiguous(pfn, count, prot) }
}
