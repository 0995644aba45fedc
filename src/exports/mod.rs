// SPDX-License-Identifier: GPL-2.0

//! The functions for other drivers, exported by `src/exports.c`.
//!
//! They only convert between the pointers and error codes of C and the module's types. A heap
//! pointer from a driver is looked up before use and not dereferenced, so a stale one is rejected.
//!
//! C header: `include/linux/rk-dma-heap.h`

mod android;
mod rockchip;

use crate::{
    abstractions::dma_buf::DmaBuf,
    decisions::request::Request, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int, //
    },
    fs::file::FileDescriptorReservation,
    page::PAGE_SIZE,
    prelude::*,
    str::CStr,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
    warn_on, //
};

/// Converts an optional C string.
///
/// # Safety
///
/// `string` must be null or a C string that is valid for `'a`.
unsafe fn optional_str<'a>(string: *const c_char) -> Option<&'a CStr> {
    if string.is_null() {
        return None;
    }
    // SAFETY: The caller promises that this is a C string.
    Some(unsafe { CStr::from_char_ptr(string) })
}

/// Creates the request for a driver's arguments.
///
/// Fails with `EINVAL` if the size wraps when it is rounded up to pages. On a 32-bit machine this
/// limit is lower than that of the ioctl, whose size has 64 bits.
fn new_request(size: usize, fd_flags: u32, heap_flags: u64) -> Result<Request> {
    size.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
    Request::new(size as u64, fd_flags, heap_flags)
}

/// Creates the request for the arguments of `rk_dma_heap_*()`, which know a heap flag. Fails as
/// [`new_request`] does.
fn new_rockchip_request(size: usize, fd_flags: u32, heap_flags: u32) -> Result<Request> {
    size.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
    Request::new_rockchip(size as u64, fd_flags, u64::from(heap_flags))
}

/// Converts a new buffer to a pointer with a reference, or to an `ERR_PTR()`.
fn into_pointer(buffer: Result<ARef<DmaBuf>>) -> *mut bindings::dma_buf {
    match buffer {
        Ok(buffer) => ARef::into_raw(buffer).cast().as_ptr(),
        Err(error) => error.to_ptr(),
    }
}

/// Installs a new buffer as a file descriptor of the calling process. Returns the descriptor or a
/// negative error number.
fn into_fd(buffer: Result<ARef<DmaBuf>>, request: Result<Request>) -> c_int {
    let install = || {
        let (request, buffer) = (request?, buffer?);
        let descriptor = FileDescriptorReservation::get_unused_fd_flags(request.flags())?;
        let number = descriptor.reserved_fd();
        DmaBuf::install(buffer, descriptor);
        Ok::<_, Error>(number as c_int)
    };
    install().unwrap_or_else(Error::to_errno)
}

/// Drops a driver's reference to a buffer.
///
/// # Safety
///
/// `buffer` must be null, an `ERR_PTR()`, or a dma-buf of which the caller owns a reference.
unsafe fn put_buffer(buffer: *mut bindings::dma_buf) {
    if let Some(buffer) = kernel::error::from_err_ptr(buffer)
        .ok()
        .and_then(NonNull::new)
    {
        // SAFETY: The caller owns a reference, which this drops.
        drop(unsafe { ARef::<DmaBuf>::from_raw(buffer.cast()) });
    }
}

/// Warns, once, that a driver has put a heap more often than it has found or added one.
///
/// References do not keep the module loaded: most drivers never put a heap. The symbols that a
/// driver uses do.
fn warn_unbalanced() {
    static WARNED: Atomic<bool> = Atomic::new(false);
    if !WARNED.xchg(true, Relaxed) {
        pr_warn!("a driver puts a heap to which it has no reference: balance the calls\n");
        warn_on!(true);
    }
}
