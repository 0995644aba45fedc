// SPDX-License-Identifier: GPL-2.0

//! DMA-BUFs that the kernel's `udmabuf` driver creates from process memory.
//!
//! This exporter is independent of the module. Its buffers show how an importer behaves in general.
//!
//! C header: `include/uapi/linux/udmabuf.h`

use crate::dma_buf::Buffer;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::fcntl::{
    fcntl,
    FcntlArg,
    SealFlag, //
};
use nix::sys::memfd::{
    memfd_create,
    MFdFlags, //
};
use std::fs::File;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};

/// The largest number of pieces of a buffer: the default of the driver's parameter `list_limit`.
pub const MAX_PIECES: usize = 1024;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Item {
    memfd: u32,
    padding: u32,
    offset: u64,
    size: u64,
}

#[repr(C)]
struct CreateList {
    flags: u32,
    count: u32,
    list: [Item; MAX_PIECES],
}

#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `UDMABUF_FLAGS_CLOEXEC`
const FLAG_CLOEXEC: u32 = 1;

nix::ioctl_write_ptr!(create, b'u', 0x42, Create);
// The request's number has the size of the head alone.
nix::ioctl_write_ptr_bad!(
    create_list,
    nix::request_code_write!(b'u', 0x43, 8),
    CreateList
);

/// Creates a file of `len` bytes of which buffers can be made.
pub fn memory(len: usize) -> Result<File> {
    let memory = memfd_create(
        c"guest-test",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let memory = File::from(memory);
    memory.set_len(len as u64)?;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(memory)
}

fn device() -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")
        .context("cannot open /dev/udmabuf")
}

/// Creates a buffer of single pages of `memory`, at most [`MAX_PIECES`], and so pins them as long
/// as it exists.
pub fn of_pages(memory: &File, offsets: &[usize]) -> Result<Buffer> {
    let mut argument = CreateList {
        flags: FLAG_CLOEXEC,
        count: offsets.len() as u32,
        list: [Item::default(); MAX_PIECES],
    };
    ensure!(offsets.len() <= MAX_PIECES, "{} pages", offsets.len());
    for (item, offset) in argument.list.iter_mut().zip(offsets) {
        *item = Item {
            memfd: memory.as_raw_fd() as u32,
            padding: 0,
            offset: *offset as u64,
            size: crate::page_size() as u64,
        };
    }
    // SAFETY: The kernel only reads `argument`, which has `count` items. It installs a descriptor
    // that nothing else owns.
    let fd = unsafe {
        OwnedFd::from_raw_fd(
            create_list(device()?.as_raw_fd(), &argument).context("UDMABUF_CREATE_LIST failed")?,
        )
    };
    Ok(Buffer::from(fd))
}

/// Creates a zeroed buffer of `len` bytes, which is a multiple of the page size.
pub fn allocate(len: usize) -> Result<Buffer> {
    let memory = memory(len)?;
    let argument = Create {
        memfd: memory.as_raw_fd() as u32,
        flags: FLAG_CLOEXEC,
        offset: 0,
        size: len as u64,
    };
    // SAFETY: The kernel only reads `argument`. It installs a descriptor that nothing else owns.
    let fd = unsafe {
        OwnedFd::from_raw_fd(
            create(device()?.as_raw_fd(), &argument).context("UDMABUF_CREATE failed")?,
        )
    };
    Ok(Buffer::from(fd))
}
