// SPDX-License-Identifier: GPL-2.0

//! A buffer that a process holds, and its expected contents.

use crate::call::Outcome;
use crate::contents::Contents;
use anyhow::{
    bail,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::mapping::{
    Mapping,
    WORD, //
};
use guest_support::page_size;
use nix::errno::Errno;
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};

/// The maximum size of a buffer that is rewritten, in bytes.
const MAX_REWRITE_SIZE: usize = 1 << 20;

/// A buffer that a process holds.
pub struct HeldBuffer {
    pub buffer: Buffer,
    pub serial: u64,
    pub size: usize,
    /// `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    pub access: i32,
    /// No other process writes to the buffer.
    pub own: bool,
    /// The expected contents, if known.
    pub contents: Option<Contents>,
}

impl HeldBuffer {
    /// Returns the number of bytes charged to the quota of the process.
    pub fn charge(&self) -> usize {
        if self.own {
            self.size
        } else {
            0
        }
    }

    /// Checks pages from page `at` (modulo the buffer size) through a new mapping.
    pub fn check(&self, at: usize) -> Result<Outcome> {
        let Some(contents) = self.contents else {
            return Ok(Outcome::Skipped);
        };
        let page = page_size();
        let start = (at % (self.size / page)) * page;
        let len = (self.size - start).min(32 * page);
        let mapped = self.buffer.map_with(
            start as u64,
            len,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
        );
        match mapped {
            Ok(mapping) => {
                contents.check(&mapping, start)?;
                Ok(Outcome::Done)
            }
            Err(errno) => Ok(Outcome::Failed(errno)),
        }
    }

    /// Checks the complete buffer and writes new contents.
    pub fn rewrite(&mut self, seed: u64) -> Result<Outcome> {
        if !self.own || self.access != libc::O_RDWR || self.size > MAX_REWRITE_SIZE {
            return Ok(Outcome::Skipped);
        }
        match self.buffer.map_range(0, self.size) {
            Ok(mapping) => {
                if let Some(old) = self.contents {
                    old.check(&mapping, 0)?;
                }
                let contents = Contents::of(seed, self.size);
                zero(&mapping);
                contents.fill(&mapping);
                self.contents = Some(contents);
                Ok(Outcome::Done)
            }
            Err(errno) => Ok(Outcome::Failed(errno)),
        }
    }
}

fn zero(mapping: &Mapping) {
    for offset in (0..mapping.len()).step_by(WORD) {
        mapping.write(offset, 0);
    }
}

/// Checks that a new buffer is zeroed, and fills it if it is writable.
pub fn check_zero_and_fill(
    buffer: &Buffer,
    size: usize,
    access: i32,
    seed: u64,
) -> Result<Contents> {
    let writable = access == libc::O_RDWR;
    let mut protection = ProtFlags::PROT_READ;
    if writable {
        protection |= ProtFlags::PROT_WRITE;
    }
    let mapped = buffer.map_with(0, size, protection, MapFlags::MAP_SHARED);
    let mapping = match mapped {
        Ok(mapping) => mapping,
        Err(Errno::ENOMEM) => bail!("ENOMEM for the page tables of {size:#x} bytes"),
        Err(errno) => return Err(errno).context("cannot map a new buffer"),
    };
    mapping
        .check_zero()
        .with_context(|| format!("a new buffer of {size:#x} bytes is not zeroed"))?;
    if !writable {
        return Ok(Contents::ZERO);
    }
    let contents = Contents::of(seed, size);
    contents.fill(&mapping);
    Ok(contents)
}
