// SPDX-License-Identifier: GPL-2.0

//! A heap's node, and the buffers that come from it.
//!
//! C headers: `include/uapi/linux/dma-heap.h`, `include/uapi/linux/dma-buf.h`

use crate::exit::Missing;
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
use std::path::Path;

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
pub struct HeapNode(File);

impl HeapNode {
    /// Opens a node; heaps need no more than reading.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = File::open(path);
        opened.map(HeapNode).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
                "{} may not be opened: be in its group (ls -l says which), or use sudo",
                path.display()
            ))),
            _ => anyhow!("cannot open {}: {error}", path.display()),
        })
    }

    /// Allocates a buffer.
    pub fn allocate(&self, len: u64) -> nix::Result<Buffer> {
        let mut data = AllocationData {
            len,
            fd: 0,
            fd_flags: (nix::libc::O_RDWR | nix::libc::O_CLOEXEC) as u32,
            heap_flags: 0,
        };
        // SAFETY: The argument is the structure that the request is about, and the kernel may write
        // to it.
        unsafe { raw::allocate(self.0.as_raw_fd(), &mut data) }?;
        let fd = RawFd::try_from(data.fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: The kernel has just made this descriptor, for this call alone.
        Ok(Buffer(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// A dma-buf.
pub struct Buffer(OwnedFd);

impl Buffer {
    /// Names it.
    pub fn set_name(&self, name: &str) -> Result<()> {
        let name = CString::new(name).context("a name holds no zero")?;
        // SAFETY: The kernel reads a C string that outlives the call.
        unsafe { raw::set_name(self.0.as_raw_fd(), name.as_ptr()) }
            .context("cannot name the buffer")?;
        Ok(())
    }

    /// Its inode number, by which other programs know it.
    pub fn inode(&self) -> Result<u64> {
        let stat = nix::sys::stat::fstat(&self.0).context("cannot look at the buffer")?;
        #[allow(clippy::unnecessary_cast)] // 32 bits wide on some architectures
        Ok(stat.st_ino as u64)
    }

    /// How large it is.
    pub fn size(&self) -> Result<u64> {
        let end = nix::unistd::lseek(&self.0, 0, nix::unistd::Whence::SeekEnd)
            .context("cannot look at the buffer")?;
        u64::try_from(end).context("the buffer has no size")
    }

    /// Maps it and writes to each of its pages.
    pub fn write_all_pages(&self, len: u64, page: u64) -> Result<()> {
        let len = usize::try_from(len).ok().and_then(NonZeroUsize::new);
        let len = len.context("too large for this machine's addresses")?;
        let page = usize::try_from(page)?.max(1);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: A new mapping at a place of the kernel's choice; it is used below as far as it
        // reaches, and removed.
        unsafe {
            let start = mmap(None, len, access, MapFlags::MAP_SHARED, self.0.as_fd(), 0)
                .context("cannot map the buffer")?;
            for offset in (0..len.get()).step_by(page) {
                start.cast::<u8>().add(offset).write_volatile(1);
            }
            munmap(start, len.get()).context("cannot unmap the buffer")
        }
    }
}
