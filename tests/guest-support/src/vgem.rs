// SPDX-License-Identifier: GPL-2.0

//! The kernel's virtual graphics device, which imports buffers through PRIME and attaches fences.
//!
//! C header: `include/uapi/drm/vgem_drm.h`

use crate::dma_buf::Buffer;
use crate::{
    errno_of,
    kernel_module, //
};
use anyhow::{
    Context,
    Result, //
};
use drm::buffer::{
    Buffer as _,
    DrmFourcc, //
};
use drm::control::Device as _;
use drm::Device as _;
use std::fs::File;
use std::os::fd::{
    AsFd,
    AsRawFd,
    BorrowedFd, //
};
use std::path::Path;

#[repr(C)]
#[derive(Debug)]
pub struct FenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Debug)]
pub struct FenceSignal {
    fence: u32,
    flags: u32,
}

/// `VGEM_FENCE_WRITE`
const FENCE_WRITE: u32 = 1;

/// `DRM_COMMAND_BASE`: the first driver-specific ioctl number.
const COMMAND_BASE: u8 = 0x40;

nix::ioctl_readwrite!(fence_attach, b'd', COMMAND_BASE + 1, FenceAttach);
nix::ioctl_write_ptr!(fence_signal, b'd', COMMAND_BASE + 2, FenceSignal);

/// The handle of an imported buffer.
pub type Handle = drm::buffer::Handle;

/// An unsignalled fence.
#[derive(Debug)]
pub struct Fence(u32);

/// An open file of the device. Each file has its own handles.
#[derive(Debug)]
pub struct Vgem(File);

impl AsFd for Vgem {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Vgem {}
impl drm::control::Device for Vgem {}

impl Vgem {
    /// Loads the driver if it is not loaded, and opens its device.
    pub fn open() -> Result<Vgem> {
        kernel_module::probe("vgem", &[])?;
        for number in 0..64 {
            let path = format!("/dev/dri/card{number}");
            if !Path::new(&path).exists() {
                continue;
            }
            let device = Vgem(File::options().read(true).write(true).open(&path)?);
            if device.get_driver()?.name() == "vgem" {
                return Ok(device);
            }
        }
        anyhow::bail!("module vgem is loaded but has no /dev/dri/card*")
    }

    /// Allocates a buffer from vgem and exports it. vgem is an exporter independent of the module.
    pub fn allocate(&self, len: usize) -> Result<Buffer> {
        let pixels = u32::try_from(len.div_ceil(4))?;
        let dumb = self
            .create_dumb_buffer((pixels, 1), DrmFourcc::Xrgb8888, 32)
            .context("vgem cannot allocate a buffer")?;
        let buffer = self.export(dumb.handle())?;
        // The handle holds another reference to the buffer.
        self.close(dumb.handle())?;
        Ok(buffer)
    }

    /// Imports a buffer.
    pub fn import(&self, buffer: &Buffer) -> Result<Handle> {
        self.prime_fd_to_buffer(buffer.as_fd())
            .context("vgem cannot import the buffer")
    }

    /// Exports a buffer by its handle.
    pub fn export(&self, handle: Handle) -> Result<Buffer> {
        let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u32;
        self.buffer_to_prime_fd(handle, flags)
            .map(Buffer::from)
            .context("vgem cannot export the buffer")
    }

    /// Closes the handle of a buffer.
    pub fn close(&self, handle: Handle) -> nix::Result<()> {
        self.close_buffer(handle).map_err(|error| errno_of(&error))
    }

    /// Attaches a write fence to the buffer.
    pub fn start_writing(&self, handle: Handle) -> Result<Fence> {
        let mut argument = FenceAttach {
            handle: handle.into(),
            flags: FENCE_WRITE,
            out_fence: 0,
            pad: 0,
        };
        // SAFETY: The kernel only reads and writes `argument`.
        unsafe { fence_attach(self.0.as_raw_fd(), &mut argument) }
            .context("vgem cannot attach a fence")?;
        Ok(Fence(argument.out_fence))
    }

    /// Signals a fence.
    pub fn signal(&self, fence: Fence) -> Result<()> {
        let argument = FenceSignal {
            fence: fence.0,
            flags: 0,
        };
        // SAFETY: The kernel only reads `argument`.
        unsafe { fence_signal(self.0.as_raw_fd(), &argument) }
            .context("vgem cannot signal a fence")?;
        Ok(())
    }
}
