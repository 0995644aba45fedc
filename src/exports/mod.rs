// SPDX-License-Identifier: GPL-2.0

//! The functions that other drivers call: `include/linux/rk-dma-heap.h` describes them,
//! `src/exports.c` exports them.
//!
//! They translate between C's pointers and errors and the module's types, and decide nothing. A
//! pointer to a heap is looked up before it is used, so a stale one is refused rather than
//! followed.

mod android;
mod rockchip;

use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        version, //
    },
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
    sync::aref::ARef, //
};

/// A C string that may be missing.
///
/// # Safety
///
/// `text` must be null or a C string that stays for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: A C string, as the caller promises.
    Some(unsafe { CStr::from_char_ptr(text) })
}

/// What a driver asks for.
///
/// Fails with `EINVAL` where the size wraps when it is rounded to pages: on a 32-bit machine it
/// does so sooner than the ioctl's, which has 64 bits.
fn request(size: usize, fd_flags: u32, heap_flags: u64) -> Result<Request> {
    size.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
    Request::new(size as u64, fd_flags, heap_flags)
}

/// A new buffer, as C wants it.
fn into_pointer(buffer: Result<ARef<DmaBuf>>) -> *mut bindings::dma_buf {
    match buffer {
        Ok(buffer) => ARef::into_raw(buffer).cast().as_ptr(),
        Err(error) => error.to_ptr(),
    }
}

/// A new buffer as a file descriptor of the calling process.
fn into_descriptor(buffer: Result<ARef<DmaBuf>>, request: Result<Request>) -> c_int {
    let install = || {
        let (request, buffer) = (request?, buffer?);
        let descriptor = FileDescriptorReservation::get_unused_fd_flags(request.flags())?;
        let number = descriptor.reserved_fd();
        descriptor.fd_install(DmaBuf::into_file(buffer));
        Ok::<_, Error>(number as c_int)
    };
    install().unwrap_or_else(Error::to_errno)
}

/// Drops a driver's reference to a buffer.
///
/// # Safety
///
/// The caller must own a reference, or `buffer` must be null or an error.
unsafe fn release(buffer: *mut bindings::dma_buf) {
    if let Some(buffer) = kernel::error::from_err_ptr(buffer)
        .ok()
        .and_then(NonNull::new)
    {
        // SAFETY: The reference is the caller's, and is given up.
        drop(unsafe { ARef::<DmaBuf>::from_raw(buffer.cast()) });
    }
}

/// Keeps the module while a driver holds a heap.
fn pin() {
    // SAFETY: The caller runs code of the module, which keeps it loaded.
    unsafe { bindings::__module_get(version::this_module()) };
}

/// Undoes [`pin`].
fn unpin() {
    // SAFETY: Called for a heap that was found before, for which `pin()` was called.
    unsafe { bindings::module_put(version::this_module()) };
}
