// SPDX-License-Identifier: GPL-2.0

//! The heaps of the rk_dma_heap module, for Rust drivers in other modules.
//!
//! A driver includes this file as a module:
//!
//! ```ignore
//! #[path = "../rk_dma_heap/include/rust/rk_dma_heap.rs"]
//! mod rk_dma_heap;
//! ```
//!
//! and is built with `KBUILD_EXTRA_SYMBOLS=…/rk_dma_heap/build/TARGET/Module.symvers`.
//!
//! Dropping a value frees what it owns. All functions may sleep unless stated otherwise.
//!
//! C header: `include/linux/rk-dma-heap.h`

#![allow(dead_code)]

use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{
        c_char,
        c_int,
        c_uint, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

mod raw {
    use super::*;

    /// `struct rk_dma_heap`.
    #[repr(C)]
    pub(super) struct Heap {
        _opaque: [u8; 0],
    }

    #[allow(improper_ctypes)] // `struct dma_buf` contains an empty structure.
    extern "C" {
        pub(super) fn rk_dma_heap_find(name: *const c_char) -> *mut Heap;
        pub(super) fn rk_dma_heap_put(heap: *mut Heap);
        pub(super) fn rk_dma_heap_buffer_alloc(
            heap: *mut Heap,
            size: usize,
            fd_flags: c_uint,
            heap_flags: c_uint,
            name: *const c_char,
        ) -> *mut bindings::dma_buf;
        pub(super) fn rk_dma_heap_buffer_free(buffer: *mut bindings::dma_buf);
        pub(super) fn rk_dma_heap_bufferfd_alloc(
            heap: *mut Heap,
            size: usize,
            fd_flags: c_uint,
            heap_flags: c_uint,
            name: *const c_char,
        ) -> c_int;
        pub(super) fn rk_dma_heap_alloc_contig_pages(
            heap: *mut Heap,
            size: usize,
            name: *const c_char,
        ) -> *mut bindings::page;
        pub(super) fn rk_dma_heap_free_contig_pages(
            heap: *mut Heap,
            pages: *mut bindings::page,
            size: usize,
            name: *const c_char,
        );
    }
}

/// A reference to a heap.
///
/// # Invariants
///
/// `heap` is a return value of `rk_dma_heap_find()` and has not been put.
#[must_use = "dropping this drops the reference"]
pub(crate) struct Heap {
    heap: NonNull<raw::Heap>,
}

// SAFETY: Any thread may call the functions of a heap.
unsafe impl Send for Heap {}
// SAFETY: As above.
unsafe impl Sync for Heap {}

impl Heap {
    /// Looks up the heap named `name`: `rk-dma-heap-cma`, or one that a driver has added.
    ///
    /// Fails with `ENODEV` if there is no such heap, and with `ENOMEM`.
    pub(crate) fn find(name: &CStr) -> Result<Arc<Self>> {
        // SAFETY: The name is a C string.
        let heap = unsafe { raw::rk_dma_heap_find(name.as_char_ptr()) };
        let heap = NonNull::new(heap).ok_or(ENODEV)?;
        // INVARIANT: The heap has just been found.
        Ok(Arc::new(Self { heap }, GFP_KERNEL)?)
    }

    /// Allocates a dma-buf of `size` bytes, rounded up to whole pages, named `name`, by default
    /// after the calling thread.
    ///
    /// `flags` are an access mode, as for `open()`. Fails with `EINVAL` for a size of 0 or unknown
    /// flags, and with `ENOMEM`.
    pub(crate) fn buffer(&self, size: usize, flags: u32, name: Option<&CStr>) -> Result<Buffer> {
        // SAFETY: The heap is valid by the type's invariant. The name is a C string or null.
        let buffer = unsafe {
            raw::rk_dma_heap_buffer_alloc(self.heap.as_ptr(), size, flags, 0, pointer(name))
        };
        // INVARIANT: The pointer has just been allocated.
        Ok(Buffer {
            buffer: NonNull::new(from_err_ptr(buffer)?).ok_or(ENOMEM)?,
        })
    }

    /// Allocates a dma-buf as [`Heap::buffer`] does, and returns a file descriptor of the calling
    /// process for it.
    pub(crate) fn descriptor(&self, size: usize, flags: u32, name: Option<&CStr>) -> Result<c_int> {
        // SAFETY: The heap is valid by the type's invariant. The name is a C string or null.
        let descriptor = unsafe {
            raw::rk_dma_heap_bufferfd_alloc(self.heap.as_ptr(), size, flags, 0, pointer(name))
        };
        if descriptor < 0 {
            return Err(Error::from_errno(descriptor));
        }
        Ok(descriptor)
    }

    /// Allocates `size` bytes of contiguous, zeroed pages, rounded up to whole pages. The owner is
    /// `name`, by default the name of the calling thread.
    ///
    /// Fails with `EINVAL` for a size of 0 or a heap without contiguous memory, and with `ENOMEM`.
    pub(crate) fn pages(self: &Arc<Self>, size: usize, name: Option<&CStr>) -> Result<Pages> {
        // SAFETY: The heap is valid by the type's invariant. The name is a C string or null.
        let pages =
            unsafe { raw::rk_dma_heap_alloc_contig_pages(self.heap.as_ptr(), size, pointer(name)) };
        // INVARIANT: The pointer has just been allocated.
        Ok(Pages {
            first: NonNull::new(from_err_ptr(pages)?).ok_or(ENOMEM)?,
            requested: size,
            heap: self.clone(),
        })
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the value owns the reference.
        unsafe { raw::rk_dma_heap_put(self.heap.as_ptr()) };
    }
}

/// Converts an optional name to a C string or null.
fn pointer(name: Option<&CStr>) -> *const c_char {
    name.map_or(ptr::null(), CStr::as_char_ptr)
}

/// A reference to a dma-buf.
///
/// # Invariants
///
/// `buffer` is a return value of `rk_dma_heap_buffer_alloc()` and has not been freed.
#[must_use = "dropping this drops the reference"]
pub(crate) struct Buffer {
    buffer: NonNull<bindings::dma_buf>,
}

// SAFETY: Any thread may use a dma-buf.
unsafe impl Send for Buffer {}
// SAFETY: As above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Returns the C structure, which is valid as long as this value. Does not sleep.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.buffer.as_ptr()
    }

    /// Returns the size in bytes. Does not sleep.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The dma-buf is valid by the type's invariant, and its size never changes.
        unsafe { (*self.buffer.as_ptr()).size }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the value owns the reference.
        unsafe { raw::rk_dma_heap_buffer_free(self.buffer.as_ptr()) };
    }
}

/// Contiguous pages of a heap.
///
/// # Invariants
///
/// `first` is a return value of `rk_dma_heap_alloc_contig_pages()` for `heap` and the size
/// `requested`, and has not been freed.
#[must_use = "dropping this frees the pages"]
pub(crate) struct Pages {
    first: NonNull<bindings::page>,
    requested: usize,
    heap: Arc<Heap>,
}

// SAFETY: Pages do not belong to a thread.
unsafe impl Send for Pages {}
// SAFETY: A shared reference does not allow changing the pages.
unsafe impl Sync for Pages {}

impl Pages {
    /// Returns the first page, which is valid as long as this value. Does not sleep.
    ///
    /// If the caller passes the page to a device, it must ensure that the device does not write
    /// during [`Pages::read`] and does not access the memory during [`Pages::write`].
    pub(crate) fn first(&self) -> *mut bindings::page {
        self.first.as_ptr()
    }

    /// Returns the size in bytes, a multiple of the page size. Does not sleep.
    pub(crate) fn size(&self) -> usize {
        // The allocation has checked that this does not wrap.
        self.requested.next_multiple_of(PAGE_SIZE)
    }

    /// Copies the contents at byte `offset` to `bytes`. Fails with `EINVAL` if the range exceeds
    /// the size.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result {
        let mut rest = bytes;
        self.each_page(offset, rest.len(), |memory, length| {
            let (part, left) = core::mem::take(&mut rest).split_at_mut(length);
            // SAFETY: `memory` is valid for `length` bytes. This value is borrowed and the device
            // does not write, so the memory does not change.
            unsafe { ptr::copy_nonoverlapping(memory, part.as_mut_ptr(), length) };
            rest = left;
        })
    }

    /// Copies `bytes` to byte `offset`. Fails with `EINVAL` if the range exceeds the size.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> Result {
        let mut rest = bytes;
        self.each_page(offset, bytes.len(), |memory, length| {
            let (part, left) = rest.split_at(length);
            // SAFETY: `memory` is valid for `length` bytes, and this value is borrowed exclusively.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), memory, length) };
            rest = left;
        })
    }

    /// Maps each page of a range and calls `access` with the address and the length, in bytes, of
    /// its part of the range.
    fn each_page(
        &self,
        offset: usize,
        length: usize,
        mut access: impl FnMut(*mut u8, usize),
    ) -> Result {
        let end = offset.checked_add(length).ok_or(EINVAL)?;
        if end > self.size() {
            return Err(EINVAL);
        }
        let mut position = offset;
        while position < end {
            let (index, inside) = (position / PAGE_SIZE, position % PAGE_SIZE);
            let part = (PAGE_SIZE - inside).min(end - position);
            // SAFETY: By the type's invariant `first` is the first of `size()` bytes of pages. The
            // `struct page`s of an area's range are contiguous. Each mapping is removed before the
            // next one is created.
            unsafe {
                let mapping = bindings::kmap_local_page(self.first.as_ptr().add(index));
                access(mapping.cast::<u8>().add(inside), part);
                bindings::kunmap_local(mapping);
            }
            position += part;
        }
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the heap has allocated the pages, and they have not been
        // freed.
        unsafe {
            raw::rk_dma_heap_free_contig_pages(
                self.heap.heap.as_ptr(),
                self.first.as_ptr(),
                self.requested,
                ptr::null(),
            )
        };
    }
}
