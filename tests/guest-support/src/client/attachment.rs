// SPDX-License-Identifier: GPL-2.0

//! What the test driver does with a buffer that is attached to its device.

use super::{
    raw,
    Client,
    MemoryType, //
};
use crate::mapping::Mapping;
use crate::page_size;
use std::os::fd::{
    AsFd,
    AsRawFd, //
};

/// The mapping through which the driver accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum View {
    /// The cached linear mapping of the kernel.
    Cached,
    /// A new uncached mapping; behaves like a device that does not snoop the caches.
    Uncached,
    /// The exporter's kernel mapping, after [`Attachment::vmap`].
    Kernel,
}

/// `enum rk_client_operation`
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Operation {
    Read,
    Write,
    Fill,
    FindNonzero,
}

/// A DMA direction: `enum dma_data_direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    Both,
    ToDevice,
    FromDevice,
}

/// A segment of the scatter-gather table that the device receives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub dma_address: u64,
    pub physical_address: u64,
    pub length: u64,
}

/// An attachment of a buffer to a device; detached when dropped.
#[derive(Debug)]
pub struct Attachment<'a> {
    pub(super) client: &'a Client,
    pub(super) handle: u32,
    pub(super) len: usize,
}

impl Attachment<'_> {
    fn fd(&self) -> i32 {
        self.client.0.as_raw_fd()
    }

    fn transfer(&self, direction: Direction) -> raw::Transfer {
        raw::Transfer {
            handle: self.handle,
            direction: direction as u32,
        }
    }

    /// Maps the buffer for the device.
    pub fn map(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel only reads the struct.
        unsafe { raw::map(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// Maps the first `len` bytes of the buffer into this process, by the driver. The address is
    /// `skew` bytes above a multiple of `alignment`, as in [`Mapping::aligned`].
    pub fn mmap(&self, len: usize, alignment: usize, skew: usize) -> nix::Result<Mapping> {
        let offset = u64::from(self.handle) * page_size() as u64;
        Mapping::aligned(self.client.0.as_fd(), offset, len, alignment, skew)
    }

    /// Holds the reservation lock of the buffer for a time, or until a signal arrives.
    pub fn hold(&self, milliseconds: u32) -> nix::Result<()> {
        let hold = raw::Hold {
            handle: self.handle,
            milliseconds,
        };
        // SAFETY: The kernel only reads the struct.
        unsafe { raw::hold(self.fd(), &hold) }.map(drop)
    }

    /// Detaches the buffer and leaves it mapped, as a careless driver does.
    pub fn leave(self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::leave(self.fd(), &self.handle) }?;
        // The handle is free.
        std::mem::forget(self);
        Ok(())
    }

    /// Undoes [`Attachment::map`].
    pub fn unmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::unmap(self.fd(), &self.handle) }.map(drop)
    }

    /// Maps the buffer into the kernel address space: `dma_buf_vmap()`.
    pub fn vmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::vmap(self.fd(), &self.handle) }.map(drop)
    }

    /// Undoes [`Attachment::vmap`].
    pub fn vunmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::vunmap(self.fd(), &self.handle) }.map(drop)
    }

    /// `dma_buf_begin_cpu_access()`
    pub fn begin_cpu_access(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel only reads the struct.
        unsafe { raw::begin(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// `dma_buf_end_cpu_access()`
    pub fn end_cpu_access(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel only reads the struct.
        unsafe { raw::end(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// Returns the segments of the buffer as mapped for the device.
    pub fn segments(&self) -> nix::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            let mut argument = raw::Segments {
                handle: self.handle,
                count: segments.len() as u32,
                segments: segments.as_mut_ptr() as u64,
            };
            // SAFETY: The kernel only writes `argument` and at most `count` segments.
            unsafe { raw::segments(self.fd(), &mut argument) }?;
            let count = argument.count as usize;
            if count <= segments.len() {
                segments.truncate(count);
                return Ok(segments);
            }
            segments.resize(count, Segment::default());
        }
    }

    fn access(
        &self,
        view: View,
        operation: Operation,
        offset: usize,
        length: usize,
        value: u8,
        data: u64,
    ) -> nix::Result<u64> {
        let mut argument = raw::Access {
            handle: self.handle,
            view: view as u32,
            operation: operation as u32,
            value: value.into(),
            offset: offset as u64,
            length: length as u64,
            data,
            found: 0,
        };
        // SAFETY: The kernel reads and writes `argument`, and the memory at `data` according to the
        // operation. The callers pass a buffer of `length` bytes that they have borrowed.
        unsafe { raw::access(self.fd(), &mut argument) }?;
        Ok(argument.found)
    }

    /// Reads from the buffer.
    pub fn read(&self, view: View, offset: usize, bytes: &mut [u8]) -> nix::Result<()> {
        let data = bytes.as_mut_ptr() as u64;
        self.access(view, Operation::Read, offset, bytes.len(), 0, data)
            .map(drop)
    }

    /// Writes to the buffer.
    pub fn write(&self, view: View, offset: usize, bytes: &[u8]) -> nix::Result<()> {
        let data = bytes.as_ptr() as u64;
        self.access(view, Operation::Write, offset, bytes.len(), 0, data)
            .map(drop)
    }

    /// Fills the whole buffer with one byte.
    pub fn fill(&self, view: View, value: u8) -> nix::Result<()> {
        self.access(view, Operation::Fill, 0, self.len, value, 0)
            .map(drop)
    }

    /// Returns the offset of the first byte that is not zero.
    pub fn find_nonzero(&self, view: View) -> nix::Result<Option<usize>> {
        let found = self.access(view, Operation::FindNonzero, 0, self.len, 0, 0)? as usize;
        Ok((found < self.len).then_some(found))
    }

    /// Returns the memory type at `offset` in the mapping `view`.
    pub fn memory_type(&self, view: View, offset: usize) -> nix::Result<MemoryType> {
        self.client
            .query_type(self.handle, view as u32, offset as u64)
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        // SAFETY: The kernel only reads the handle.
        let _ = unsafe { raw::detach(self.fd(), &self.handle) };
    }
}
