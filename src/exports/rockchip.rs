// SPDX-License-Identifier: GPL-2.0

//! Rockchip's names.

use super::{
    into_descriptor,
    into_pointer,
    pin,
    release,
    request,
    text,
    unpin, //
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
    // SAFETY: As the caller promises.
    let heap = unsafe { text(name) }.and_then(rockchip::find);
    if heap.is_some() {
        pin();
    }
    heap.unwrap_or(ptr::null_mut())
}

#[no_mangle]
extern "C" fn rk_dma_heap_put(heap: *mut c::rk_dma_heap) {
    if rockchip::put(heap) {
        unpin();
    }
}

/// # Safety
///
/// `device` must be null or a device that no driver uses for DMA at the moment.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_set_dev(device: *mut bindings::device) -> c_int {
    if device.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: A valid device, as the caller promises.
    match unsafe { dma_device::reach_everything(device) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

fn allocate(
    heap: *mut c::rk_dma_heap,
    request: Result<Request>,
    name: Option<&CStr>,
) -> Result<ARef<DmaBuf>> {
    rockchip::heap(heap)
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
    let asked = request(size, fd_flags, u64::from(heap_flags));
    // SAFETY: As the caller promises.
    into_pointer(allocate(heap, asked, unsafe { text(name) }))
}

/// # Safety
///
/// `buffer` must be what `rk_dma_heap_buffer_alloc()` returned, and not be used by the caller any
/// more.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_buffer_free(buffer: *mut bindings::dma_buf) {
    // SAFETY: As the caller promises.
    unsafe { release(buffer) };
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
    let asked = request(size, fd_flags, u64::from(heap_flags));
    // SAFETY: As the caller promises.
    let buffer = allocate(heap, asked, unsafe { text(name) });
    into_descriptor(buffer, asked)
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
    // SAFETY: As the caller promises.
    let name = unsafe { text(name) };
    let contiguous = rockchip::heap(heap).filter(|heap| heap.is_contiguous());
    let Some(heap) = contiguous else {
        warn_on!(true);
        return EINVAL.to_ptr();
    };
    match request(size, 0, 0).and_then(|request| heap.allocate_pages(request, name)) {
        Ok(page) => page.as_ptr(),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// `pages` must be null, an error or a page; `name` must be null or a C string. Nobody may use the
/// pages any more.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_free_contig_pages(
    heap: *mut c::rk_dma_heap,
    pages: *mut bindings::page,
    size: usize,
    name: *const c_char,
) {
    let free = || {
        let heap = rockchip::heap(heap).ok_or(EINVAL)?;
        let request = request(size, 0, 0)?;
        let pages = kernel::error::from_err_ptr(pages)?;
        if pages.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: As the caller promises.
        unsafe { heap.free_pages(pages, request, text(name)) }
    };
    warn_on!(free().is_err());
}

/// # Safety
///
/// `info` must be null or valid; its operations must stay until the heap's last reference is put.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_add(
    info: *const c::rk_dma_heap_export_info,
) -> *mut c::rk_dma_heap {
    let add = || {
        // SAFETY: As the caller promises.
        let info = unsafe { info.as_ref() }.ok_or(EINVAL)?;
        // SAFETY: A C string or null.
        let name = unsafe { text(info.name) }
            .filter(|name| !name.is_empty())
            .ok_or(EINVAL)?;
        // SAFETY: As the caller promises.
        let heap = unsafe { DriverHeap::new(info) }?;
        rockchip::add_driver(name, heap)
    };
    match add() {
        Ok(heap) => {
            pin();
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
    // SAFETY: The reference keeps the heap.
    unsafe { RkHeap::from_raw(heap) }.private()
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_dev(_heap: *mut c::rk_dma_heap) -> *mut bindings::device {
    rockchip::device().map_or(core::ptr::null_mut(), |device| device.device())
}

/// # Safety
///
/// The caller must hold a reference to `heap`.
#[no_mangle]
unsafe extern "C" fn rk_dma_heap_get_name(heap: *mut c::rk_dma_heap) -> *const c_char {
    // SAFETY: The reference keeps the heap, and with it its name.
    unsafe { RkHeap::from_raw(heap) }.name().as_char_ptr()
}

#[no_mangle]
extern "C" fn rk_dma_heap_get_cma() -> *mut c::cma {
    rockchip::own()
        .and_then(|heap| heap.area())
        .map_or(ptr::null_mut(), |area| area.as_raw())
}

/// # Safety
///
/// The page frames must be memory that stays while it is mapped.
#[no_mangle]
unsafe extern "C" fn rk_vmap_contig_pfn(
    pfn: c_ulong,
    count: c_uint,
    prot: bindings::pgprot_t,
) -> *mut c_void {
    // SAFETY: As the caller promises.
    unsafe { crate::abstractions::kernel_mapping::of_pfns_with(pfn, count, prot) }
}
