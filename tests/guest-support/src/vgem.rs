// SPDX-License-Identifier: GPL-2.0

//! The kernel's virtual graphics device, which imports buffers by PRIME and puts fences on them.
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

/// `DRM_COMMAND_BASE`, from which a driver counts its own ioctls.
const COMMAND_BASE: u8 = 0x40;

nix::ioctl_readwrite!(fence_attach, b'd', COMMAND_BASE + 1, FenceAttach);
nix::ioctl_write_ptr!(fence_signal, b'd', COMMAND_BASE + 2, FenceSignal);

/// The handle of an imported buffer.
pub type Handle = drm::buffer::Handle;

/// A fence that has not been signalled.
#[derive(Debug)]
pub struct Fence(u32);

/// The device, opened anew: each has handles of its own.
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
    /// Loads the driver if need be, and opens its device.
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
        anyhow::bail!("module vgem is loaded, but no /dev/dri/card* is its device")
    }

    /// Makes a buffer of vgem's own and hands it out: of an exporter with which ours has nothing to
    /// do.
    pub fn allocate(&self, len: usize) -> Result<Buffer> {
        let pixels = u32::try_from(len.div_ceil(4))?;
        let dumb = self
            .create_dumb_buffer((pixels, 1), DrmFourcc::Xrgb8888, 32)
            .context("vgem cannot make a buffer")?;
        let buffer = self.export(dumb.handle())?;
        // The handle would hold the buffer as well.
        self.close(dumb.handle())?;
        Ok(buffer)
    }

    /// Imports a buffer.
    pub fn import(&self, buffer: &Buffer) -> Result<Handle> {
        self.prime_fd_to_buffer(buffer.as_fd())
            .context("vgem cannot import the buffer")
    }

    /// Gives a buffer that was imported as a descriptor again.
    pub fn export(&self, handle: Handle) -> Result<Buffer> {
        let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u32;
        self.buffer_to_prime_fd(handle, flags)
            .map(Buffer::from)
            .context("vgem cannot export the buffer again")
    }

    /// Lets go of an imported buffer.
    pub fn close(&self, handle: Handle) -> nix::Result<()> {
        self.close_buffer(handle).map_err(|error| errno_of(&error))
    }

    /// Says that a device is writing to the buffer, until the fence is signalled.
    pub fn start_writing(&self, handle: Handle) -> Result<Fence> {
        let mut argument = FenceAttach {
            handle: handle.into(),
            flags: FENCE_WRITE,
            out_fence: 0,
            pad: 0,
        };
        // SAFETY: The kernel reads and writes the one struct.
        unsafe { fence_attach(self.0.as_raw_fd(), &mut argument) }
            .context("vgem cannot attach a fence")?;
        Ok(Fence(argument.out_fence))
    }

    /// Says that the device is done.
    pub fn signal(&self, fence: Fence) -> Result<()> {
        let argument = FenceSignal {
            fence: fence.0,
            flags: 0,
        };
        // SAFETY: The kernel reads the one struct.
        unsafe { fence_signal(self.0.as_raw_fd(), &argument) }
            .context("vgem cannot signal a fence")?;
        Ok(())
    }
}
