// SPDX-License-Identifier: GPL-2.0

//! What the driver of `/dev/rk_allocator` has allocated.

use super::raw::{
    self,
    name,
    Free,
    Transfer, //
};
use super::{
    Allocator,
    Mistake, //
};
use crate::dma_buf::Buffer;
use anyhow::Result;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};

/// A buffer or page array that the driver has allocated; freed when dropped.
#[derive(Debug)]
pub struct Allocation<'a> {
    pub(super) allocator: &'a Allocator,
    pub(super) handle: u32,
    pub(super) physical_address: u64,
}

impl Allocation<'_> {
    fn fd(&self) -> i32 {
        self.allocator.0.as_raw_fd()
    }

    /// Returns the physical address of a page array.
    pub fn physical_address(&self) -> u64 {
        self.physical_address
    }

    /// Returns a new descriptor of a buffer.
    pub fn export(&self) -> nix::Result<Buffer> {
        // SAFETY: The kernel only reads the handle. It installs a descriptor that nothing else
        // owns.
        unsafe {
            let fd = raw::export(self.fd(), &self.handle)?;
            Ok(Buffer::from(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Leaves the allocation to the driver until the driver is unloaded.
    pub fn keep(self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        unsafe { raw::keep(self.fd(), &self.handle) }?;
        std::mem::forget(self);
        Ok(())
    }

    /// Lets the driver free a page array incorrectly. The driver keeps the page array.
    pub fn free_wrongly(&self, mistake: Mistake) -> nix::Result<()> {
        let argument = Free {
            handle: self.handle,
            mistake: mistake as u32,
        };
        // SAFETY: The kernel only reads the struct.
        unsafe { raw::free(self.fd(), &argument) }.map(drop)
    }

    fn transfer(&self, write: bool, device: &str, offset: usize, data: &[u8]) -> Result<Transfer> {
        Ok(Transfer {
            handle: self.handle,
            write: write.into(),
            device: name(device)?,
            offset: offset as u64,
            length: data.len() as u64,
            data: data.as_ptr() as u64,
        })
    }

    /// Lets a device write to a page array.
    pub fn device_writes(&self, device: &str, offset: usize, bytes: &[u8]) -> Result<()> {
        let argument = self.transfer(true, device, offset, bytes)?;
        // SAFETY: The kernel only reads `argument` and `bytes`.
        unsafe { raw::transfer(self.fd(), &argument) }?;
        Ok(())
    }

    /// Lets a device read from a page array.
    pub fn device_reads(&self, device: &str, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let argument = self.transfer(false, device, offset, bytes)?;
        // SAFETY: The kernel reads `argument` and writes `bytes`, which are mutably borrowed.
        unsafe { raw::transfer(self.fd(), &argument) }?;
        Ok(())
    }

    /// Reads a page array through `rk_vmap_contig_pfn()`.
    pub fn read_mapped(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let argument = self.transfer(false, "", offset, bytes)?;
        // SAFETY: As in `device_reads`.
        unsafe { raw::mapped(self.fd(), &argument) }?;
        Ok(())
    }
}

impl Drop for Allocation<'_> {
    fn drop(&mut self) {
        let argument = Free {
            handle: self.handle,
            mistake: 0,
        };
        // SAFETY: The kernel only reads the struct.
        let _ = unsafe { raw::free(self.fd(), &argument) };
    }
}
