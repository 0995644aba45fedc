// SPDX-License-Identifier: GPL-2.0

//! Android's names, over all heaps of `/dev/dma_heap` that the module has made.

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
    abstractions::dma_buf::DmaBuf,
    bindings as c,
    decisions::request::Request,
    heap,
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
        c_int, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// # Safety
///
/// `name` must be null or a C string.
#[no_mangle]
unsafe extern "C" fn dma_heap_find(name: *const c_char) -> *mut c::dma_heap {
    // SAFETY: As the caller promises.
    match unsafe { text(name) }.and_then(registry::find) {
        Some(Handle(heap)) => {
            pin();
            heap
        }
        None => ptr::null_mut(),
    }
}

#[no_mangle]
extern "C" fn dma_heap_put(heap: *mut c::dma_heap) {
    if registry::heap(Handle(heap)).is_some() {
        unpin();
    }
}

fn allocate(heap: *mut c::dma_heap, request: Result<Request>) -> Result<ARef<DmaBuf>> {
    heap::allocate(&*registry::heap(Handle(heap)).ok_or(EINVAL)?, request?)
}

#[no_mangle]
extern "C" fn dma_heap_buffer_alloc(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: u32,
    heap_flags: u64,
) -> *mut bindings::dma_buf {
    into_pointer(allocate(heap, request(size, fd_flags, heap_flags)))
}

/// # Safety
///
/// `buffer` must be what `dma_heap_buffer_alloc()` returned, and not be used by the caller any
/// more.
#[no_mangle]
unsafe extern "C" fn dma_heap_buffer_free(buffer: *mut bindings::dma_buf) {
    // SAFETY: As the caller promises.
    unsafe { release(buffer) };
}

#[no_mangle]
extern "C" fn dma_heap_bufferfd_alloc(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: u32,
    heap_flags: u64,
) -> c_int {
    let asked = request(size, fd_flags, heap_flags);
    into_descriptor(allocate(heap, asked), asked)
}

/// The module's heaps have no data of a driver.
#[cfg(not(CONFIG_DMABUF_HEAPS))]
#[no_mangle]
extern "C" fn dma_heap_get_drvdata(_heap: *mut c::dma_heap) -> *mut core::ffi::c_void {
    ptr::null_mut()
}

#[cfg(not(CONFIG_DMABUF_HEAPS))]
#[no_mangle]
extern "C" fn dma_heap_get_name(heap: *mut c::dma_heap) -> *const c_char {
    // The name is the account's, which lives as long as the module: the caller's reference keeps it
    // loaded.
    registry::heap(Handle(heap)).map_or(ptr::null(), |heap| heap.account().heap().as_char_ptr())
}
