// SPDX-License-Identifier: GPL-2.0

//! The test driver for QEMU's PCI device `edu`, which has a DMA engine: `/dev/rk_edu/ADDRESS`.
//!
//! C header: `tests/client/edu_uapi.h`

mod raw;

use crate::client::Direction;
use crate::dma_buf::Buffer;
use crate::kernel_module;
use anyhow::{
    Context,
    Result, //
};
use std::fs::{
    self,
    File, //
};
use std::os::fd::AsRawFd;
use std::path::{
    Path,
    PathBuf, //
};

const MODULE: &str = "rk_edu";
const MODULE_FILE: &str = "/lib/modules/rk_edu.ko";
const DIRECTORY: &str = "/dev/rk_edu";

/// Loads the driver with `parameters`, after it was unloaded if necessary.
pub fn reload(parameters: &str) -> Result<()> {
    kernel_module::reload(MODULE, Path::new(MODULE_FILE), parameters)
}

/// An open device of the driver.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Opens all devices, in the order of their addresses.
    pub fn all() -> Result<Vec<Self>> {
        let entries =
            fs::read_dir(DIRECTORY).with_context(|| format!("cannot list {DIRECTORY}"))?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<PathBuf>>>()?;
        paths.sort();
        paths
            .iter()
            .map(|path| {
                let file = File::options().read(true).write(true).open(path);
                Ok(Device(file.with_context(|| {
                    format!("cannot open {}", path.display())
                })?))
            })
            .collect()
    }

    /// Attaches a buffer to the device.
    pub fn attach(&self, buffer: &Buffer) -> nix::Result<Import<'_>> {
        let mut argument = raw::Attach {
            fd: buffer.raw_fd(),
            handle: 0,
        };
        // SAFETY: The kernel only reads and writes `argument`.
        unsafe { raw::attach(self.0.as_raw_fd(), &mut argument) }?;
        Ok(Import {
            device: self,
            handle: argument.handle,
        })
    }
}

/// An attachment of a buffer to a device; unmapped and detached when dropped.
#[derive(Debug)]
pub struct Import<'a> {
    device: &'a Device,
    handle: u32,
}

impl Import<'_> {
    fn fd(&self) -> i32 {
        self.device.0.as_raw_fd()
    }

    /// Maps the buffer for the device.
    pub fn map(&self, direction: Direction) -> nix::Result<()> {
        let argument = raw::Map {
            handle: self.handle,
            direction: direction as u32,
        };
        // SAFETY: The kernel only reads `argument`.
        unsafe { raw::map(self.fd(), &argument) }.map(drop)
    }

    /// Undoes [`Import::map`].
    pub fn unmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::unmap(self.fd(), &self.handle) }.map(drop)
    }

    /// Lets the device access `length` bytes from `offset` on, with any arguments.
    ///
    /// # Safety
    ///
    /// The kernel reads or writes up to `length` bytes at the address `data`.
    pub unsafe fn transfer(
        &self,
        direction: u32,
        offset: u64,
        length: u64,
        data: u64,
    ) -> nix::Result<()> {
        let argument = raw::Transfer {
            handle: self.handle,
            direction,
            offset,
            length,
            data,
        };
        // SAFETY: The kernel only reads `argument`, and accesses the memory as the caller expects.
        unsafe { raw::transfer(self.fd(), &argument) }.map(drop)
    }

    /// Returns the `length` bytes from `offset` on, as the device reads them.
    pub fn read(&self, offset: usize, length: usize) -> nix::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let data = bytes.as_mut_ptr() as u64;
        // SAFETY: The kernel writes `length` bytes to `bytes`.
        unsafe {
            self.transfer(
                Direction::ToDevice as u32,
                offset as u64,
                length as u64,
                data,
            )?;
        }
        Ok(bytes)
    }

    /// Lets the device write bytes to the buffer.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> nix::Result<()> {
        let (length, data) = (bytes.len() as u64, bytes.as_ptr() as u64);
        // SAFETY: The kernel reads the bytes.
        unsafe { self.transfer(Direction::FromDevice as u32, offset as u64, length, data) }
    }
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        // SAFETY: The kernel only reads the handle.
        let _ = unsafe { raw::detach(self.fd(), &self.handle) };
    }
}
