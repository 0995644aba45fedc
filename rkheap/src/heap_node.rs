// SPDX-License-Identifier: GPL-2.0

//! The device node of a heap, and the dma-bufs that are allocated from it.
//!
//! C headers: `include/uapi/linux/dma-heap.h`, `include/uapi/linux/dma-buf.h`

use crate::access;
use crate::exit::Missing;
use crate::system::System;
use anyhow::{
    anyhow,
    Context,
    Result, //
};
use nix::errno::Errno;
use nix::sys::mman::{
    mmap,
    munmap,
    MapFlags,
    ProtFlags, //
};
use std::ffi::CString;
use std::fs::File;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::os::fd::{
    AsFd,
    AsRawFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};

/// `struct dma_heap_allocation_data`.
#[repr(C)]
struct AllocationData {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

mod raw {
    nix::ioctl_readwrite!(allocate, b'H', 0, super::AllocationData);
    nix::ioctl_write_ptr_bad!(
        set_name,
        nix::request_code_write!(b'b', 1, size_of::<usize>()),
        nix::libc::c_char
    );
}

/// An open heap.
#[must_use]
pub struct HeapNode(File);

impl HeapNode {
    /// Opens a node read-only, which is sufficient for allocations. Fails with [`Missing`] if this
    /// user has no permission.
    pub fn open(system: &System, node: &str) -> Result<Self> {
        let opened = File::open(system.path(node));
        opened.map(HeapNode).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
                "cannot open {node}: permission denied: {}",
                access::cure(system, node, access::HEAP_RULE)
            ))),
            _ => anyhow!("cannot open {node}: {error}"),
        })
    }

    /// Allocates a dma-buf of at least `len` bytes.
    pub fn allocate(&self, len: u64) -> nix::Result<DmaBuf> {
        let mut data = AllocationData {
            len,
            fd: 0,
            fd_flags: (nix::libc::O_RDWR | nix::libc::O_CLOEXEC) as u32,
            heap_flags: 0,
        };
        // SAFETY: The argument is the structure of this request, and the kernel may write to it.
        unsafe { raw::allocate(self.0.as_raw_fd(), &mut data) }?;
        let fd = RawFd::try_from(data.fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: The kernel has just created this descriptor, and nothing else owns it.
        Ok(DmaBuf(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// A dma-buf. Dropping it closes the file descriptor.
#[must_use]
pub struct DmaBuf(OwnedFd);

impl DmaBuf {
    /// Sets the name.
    pub fn set_name(&self, name: &str) -> Result<()> {
        let name = CString::new(name).context("the name contains NUL")?;
        // SAFETY: `name` is a C string that outlives the call, and the kernel only reads it.
        unsafe { raw::set_name(self.0.as_raw_fd(), name.as_ptr()) }
            .context("cannot set the name of the buffer")?;
        Ok(())
    }

    /// Returns the inode number, which identifies the dma-buf in all processes.
    pub fn inode(&self) -> Result<u64> {
        let stat =
            nix::sys::stat::fstat(&self.0).context("cannot read the inode number of the buffer")?;
        #[allow(clippy::unnecessary_cast)] // 32 bits on some architectures
        Ok(stat.st_ino as u64)
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> Result<u64> {
        let end = nix::unistd::lseek(&self.0, 0, nix::unistd::Whence::SeekEnd)
            .context("cannot read the size of the buffer")?;
        u64::try_from(end).context("the buffer has no size")
    }

    /// Maps the first `len` bytes, writes one byte to each page of `page_size` bytes, and unmaps.
    pub fn write_all_pages(&self, len: u64, page_size: u64) -> Result<()> {
        let len = usize::try_from(len).ok().and_then(NonZeroUsize::new);
        let len = len.context("the buffer exceeds the address space")?;
        let page_size = usize::try_from(page_size)?.max(1);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses the address of the new mapping. All writes are within its
        // `len` bytes, and it is not used after `munmap`.
        unsafe {
            let start = mmap(None, len, access, MapFlags::MAP_SHARED, self.0.as_fd(), 0)
                .context("cannot map the buffer")?;
            for offset in (0..len.get()).step_by(page_size) {
                start.cast::<u8>().add(offset).write_volatile(1);
            }
            munmap(start, len.get()).context("cannot unmap the buffer")
        }
    }
}
