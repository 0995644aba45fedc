// SPDX-License-Identifier: GPL-2.0

//! The heaps of the rk_dma_heap module, for a Rust driver in another module.
//!
//! A driver takes this file in as a module of its own:
//!
//! ```ignore
//! #[path = "../rk_dma_heap/include/rust/rk_dma_heap.rs"]
//! mod rk_dma_heap;
//! ```
//!
//! and is built with `KBUILD_EXTRA_SYMBOLS=…/rk_dma_heap/build/TARGET/Module.symvers`. What is
//! allocated is given back when its value is dropped. Everything here may sleep.
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

    #[allow(improper_ctypes)] // An empty structure deep inside of the kernel's.
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
/// `heap` was found by `rk_dma_heap_find()` and not put.
pub(crate) struct Heap {
    heap: NonNull<raw::Heap>,
}

// SAFETY: The functions of a heap may be called by any thread.
unsafe impl Send for Heap {}
// SAFETY: As above.
unsafe impl Sync for Heap {}

impl Heap {
    /// Finds the heap named `name`: `rk-dma-heap-cma`, or one that a driver has added.
    ///
    /// Fails with `ENODEV` where there is none, else with `ENOMEM`.
    pub(crate) fn find(name: &CStr) -> Result<Arc<Self>> {
        // SAFETY: A C string.
        let heap = unsafe { raw::rk_dma_heap_find(name.as_char_ptr()) };
        let heap = NonNull::new(heap).ok_or(ENODEV)?;
        // INVARIANT: Found just now.
        Ok(Arc::new(Self { heap }, GFP_KERNEL)?)
    }

    /// Allocates a dma-buf of `size` bytes, rounded up to whole pages. Without a name it gets the
    /// calling thread's.
    ///
    /// `flags` are an access mode, as for `open()`. Fails with `EINVAL` for a size of 0 or unknown
    /// flags, else with `ENOMEM`.
    pub(crate) fn buffer(&self, size: usize, flags: u32, name: Option<&CStr>) -> Result<Buffer> {
        // SAFETY: The heap is valid by the type's invariant; a C string or null.
        let buffer = unsafe {
            raw::rk_dma_heap_buffer_alloc(self.heap.as_ptr(), size, flags, 0, pointer(name))
        };
        // INVARIANT: Allocated just now.
        Ok(Buffer {
            buffer: NonNull::new(from_err_ptr(buffer)?).ok_or(ENOMEM)?,
        })
    }

    /// As [`Heap::buffer`], but hands the buffer to the calling process as a file descriptor, which
    /// is returned.
    pub(crate) fn descriptor(&self, size: usize, flags: u32, name: Option<&CStr>) -> Result<c_int> {
        // SAFETY: The heap is valid by the type's invariant; a C string or null.
        let descriptor = unsafe {
            raw::rk_dma_heap_bufferfd_alloc(self.heap.as_ptr(), size, flags, 0, pointer(name))
        };
        if descriptor < 0 {
            return Err(Error::from_errno(descriptor));
        }
        Ok(descriptor)
    }

    /// Allocates contiguous, zeroed pages of `size` bytes, rounded up to whole ones, for `name`,
    /// else for the calling thread.
    ///
    /// Fails with `EINVAL` for a size of 0 or a heap that has no contiguous memory, else with
    /// `ENOMEM`.
    pub(crate) fn pages(self: &Arc<Self>, size: usize, name: Option<&CStr>) -> Result<Pages> {
        // SAFETY: The heap is valid by the type's invariant; a C string or null.
        let pages =
            unsafe { raw::rk_dma_heap_alloc_contig_pages(self.heap.as_ptr(), size, pointer(name)) };
        // INVARIANT: Allocated just now.
        Ok(Pages {
            first: NonNull::new(from_err_ptr(pages)?).ok_or(ENOMEM)?,
            asked: size,
            heap: self.clone(),
        })
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: The reference is this value's, by the type's invariant.
        unsafe { raw::rk_dma_heap_put(self.heap.as_ptr()) };
    }
}

fn pointer(name: Option<&CStr>) -> *const c_char {
    name.map_or(ptr::null(), CStr::as_char_ptr)
}

/// A dma-buf, with a reference to it.
///
/// # Invariants
///
/// `buffer` came from `rk_dma_heap_buffer_alloc()` and was not freed.
pub(crate) struct Buffer {
    buffer: NonNull<bindings::dma_buf>,
}

// SAFETY: A dma-buf is shared between threads by design.
unsafe impl Send for Buffer {}
// SAFETY: As above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The C structure, for the dma-buf interface. It is valid as long as this value.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.buffer.as_ptr()
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The dma-buf is valid by the type's invariant, and its size never changes.
        unsafe { (*self.buffer.as_ptr()).size }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: The reference is this value's, by the type's invariant.
        unsafe { raw::rk_dma_heap_buffer_free(self.buffer.as_ptr()) };
    }
}

/// Contiguous pages of a heap.
///
/// # Invariants
///
/// `first` came from `rk_dma_heap_alloc_contig_pages()` on `heap` with the size `asked`, and was
/// not freed.
pub(crate) struct Pages {
    first: NonNull<bindings::page>,
    asked: usize,
    heap: Arc<Heap>,
}

// SAFETY: Pages are bound to no thread.
unsafe impl Send for Pages {}
// SAFETY: Nothing can be changed through a shared reference.
unsafe impl Sync for Pages {}

impl Pages {
    /// The first page. It is valid as long as this value.
    ///
    /// Who hands it to a device sees to it that the device does not write while [`Pages::read`]
    /// runs, nor use the memory while [`Pages::write`] does.
    pub(crate) fn first(&self) -> *mut bindings::page {
        self.first.as_ptr()
    }

    /// The size in bytes: whole pages.
    pub(crate) fn size(&self) -> usize {
        // It did not wrap when the pages were allocated.
        self.asked.next_multiple_of(PAGE_SIZE)
    }

    /// Copies what is there from byte `offset` on. Fails with `EINVAL` where that reaches beyond
    /// the end.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result {
        let mut rest = bytes;
        self.each_page(offset, rest.len(), |memory, length| {
            let (part, left) = core::mem::take(&mut rest).split_at_mut(length);
            // SAFETY: `memory` is valid for as many bytes, and nobody writes to it meanwhile.
            unsafe { ptr::copy_nonoverlapping(memory, part.as_mut_ptr(), length) };
            rest = left;
        })
    }

    /// Writes `bytes` from byte `offset` on. Fails with `EINVAL` where they reach beyond the end.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> Result {
        let mut rest = bytes;
        self.each_page(offset, bytes.len(), |memory, length| {
            let (part, left) = rest.split_at(length);
            // SAFETY: `memory` is valid for as many bytes, and this value is borrowed exclusively.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), memory, length) };
            rest = left;
        })
    }

    /// Maps the pages of the range one after the other, and calls `access` with each part and its
    /// length.
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
        let mut at = offset;
        while at < end {
            let inside = at % PAGE_SIZE;
            let part = (PAGE_SIZE - inside).min(end - at);
            // SAFETY: By the type's invariant there are as many pages as `size()` says; those of
            // one range of an area have their `struct page`s one behind the other. Each mapping is
            // undone before the next one is made.
            unsafe {
                let mapping = bindings::kmap_local_page(self.first.as_ptr().add(at / PAGE_SIZE));
                access(mapping.cast::<u8>().add(inside), part);
                bindings::kunmap_local(mapping);
            }
            at += part;
        }
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the pages are the heap's and were not freed.
        unsafe {
            raw::rk_dma_heap_free_contig_pages(
                self.heap.heap.as_ptr(),
                self.first.as_ptr(),
                self.asked,
                ptr::null(),
            )
        };
    }
}
