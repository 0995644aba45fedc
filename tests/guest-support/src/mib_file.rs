// SPDX-License-Identifier: GPL-2.0

//! Files in `/proc/rk_dma_heap` that show and set a size in MiB.

use crate::errno_of;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::errno::Errno;
use std::fs;

/// A file that holds a size in MiB.
#[derive(Clone, Copy)]
pub struct MibFile(&'static str);

/// The size of the reserve of contiguous memory.
pub const CONTIG_RESERVE: MibFile = MibFile("/proc/rk_dma_heap/contig_reserve_mib");

/// How much of the pool of `system` is filled in advance.
pub const POOL_PREFILL: MibFile = MibFile("/proc/rk_dma_heap/pool_prefill_mib");

impl MibFile {
    /// Returns the size, in bytes.
    pub fn get(self) -> Result<usize> {
        let text = fs::read_to_string(self.0).with_context(|| format!("cannot read {}", self.0))?;
        let mib: usize = text.trim().parse()?;
        ensure!(text == format!("{mib}\n"), "{}: {text:?}", self.0);
        Ok(mib << 20)
    }

    /// Sets the size, in bytes.
    pub fn set(self, size: usize) -> Result<()> {
        self.write(&(size >> 20).to_string())
            .with_context(|| format!("cannot write {}", self.0))
    }

    /// Writes any text.
    pub fn write(self, text: &str) -> nix::Result<()> {
        fs::write(self.0, text).map_err(|error| -> Errno { errno_of(&error) })
    }
}
