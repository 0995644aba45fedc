// SPDX-License-Identifier: GPL-2.0

//! DMA-BUFs that the kernel's `udmabuf` driver creates from process memory.
//!
//! This exporter is independent of the module. Its buffers show how an importer behaves in general.
//!
//! C header: `include/uapi/linux/udmabuf.h`

use crate::dma_buf::Buffer;
use anyhow::{
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

/// Creates a zeroed buffer of `len` bytes, which is a multiple of the page size.
pub fn allocate(len: usize) -> Result<Buffer> {
    let memory = memfd_create(
        c"guest-test",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let memory = File::from(memory);
    memory.set_len(len as u64)?;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")
        .context("cannot open /dev/udmabuf")?;
    let argument = Create {
        memfd: memory.as_raw_fd() as u32,
        flags: FLAG_CLOEXEC,
        offset: 0,
        size: len as u64,
    };
    // SAFETY: The kernel only reads `argument`. It installs a descriptor that nothing else owns.
    let fd = unsafe {
        OwnedFd::from_raw_fd(
            create(device.as_raw_fd(), &argument).context("UDMABUF_CREATE failed")?,
        )
    };
    Ok(Buffer::from(fd))
}
