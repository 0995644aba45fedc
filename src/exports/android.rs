// SPDX-License-Identifier: GPL-2.0

//! The function names of Android's kernels, for the module's heaps of `/dev/dma_heap`.

use super::{
    into_fd,
    into_pointer,
    new_request,
    optional_str,
    put_buffer,
    warn_unbalanced, //
};
use crate::{
    abstractions::dma_buf::DmaBuf,
    bindings as c,
    decisions::request::Request,
    registry::{
        self,
        Handle, //
    }, //
};
use core::ptr;
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn dma_heap_find(name: *const c_char) -> *mut c::dma_heap {
    // SAFETY: The caller promises this.
    match unsafe { optional_str(name) }.and_then(registry::find) {
        Some(Handle(heap)) => heap,
        None => ptr::null_mut(),
    }
}

#[no_mangle]
extern "C" fn dma_heap_put(heap: *mut c::dma_heap) {
    if !heap.is_null() && !registry::put(Handle(heap)) {
        warn_unbalanced();
    }
}

fn allocate(heap: *mut c::dma_heap, request: Result<Request>) -> Result<ARef<DmaBuf>> {
    registry::lookup(Handle(heap))
        .ok_or(EINVAL)?
        .allocate(request?)
}

#[no_mangle]
extern "C" fn dma_heap_buffer_alloc(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: c_uint,
    heap_flags: c_uint,
) -> *mut bindings::dma_buf {
    into_pointer(allocate(
        heap,
        new_request(size, fd_flags, u64::from(heap_flags)),
    ))
}

/// # Safety
///
/// `buffer` must be a return value of `dma_heap_buffer_alloc()` that the caller does not use
/// afterwards.
#[no_mangle]
unsafe extern "C" fn dma_heap_buffer_free(buffer: *mut bindings::dma_buf) {
    // SAFETY: The caller promises this.
    unsafe { put_buffer(buffer) };
}

#[no_mangle]
extern "C" fn dma_heap_bufferfd_alloc(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: c_uint,
    heap_flags: c_uint,
) -> c_int {
    let request = new_request(size, fd_flags, u64::from(heap_flags));
    into_fd(allocate(heap, request), request)
}

/// Returns null, as the module's heaps have no driver data.
#[cfg(not(CONFIG_DMABUF_HEAPS))]
#[no_mangle]
extern "C" fn dma_heap_get_drvdata(_heap: *mut c::dma_heap) -> *mut core::ffi::c_void {
    ptr::null_mut()
}

#[cfg(not(CONFIG_DMABUF_HEAPS))]
#[no_mangle]
extern "C" fn dma_heap_get_name(heap: *mut c::dma_heap) -> *const c_char {
    // The name belongs to the account, which lives as long as the module. The symbol that the
    // caller uses keeps the module loaded.
    registry::lookup(Handle(heap))
        .map_or(ptr::null(), |heap| heap.account().heap_name().as_char_ptr())
}
