// SPDX-License-Identifier: GPL-2.0

//! A buffer that a process has, and what has to be in it.

use crate::call::Answer;
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

/// The largest buffer that is written a second time, in bytes.
const REWRITTEN: usize = 1 << 20;

/// A buffer that a process has.
pub struct Held {
    pub buffer: Buffer,
    pub serial: u64,
    pub size: usize,
    /// `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    pub access: i32,
    /// Nobody else writes into it.
    pub own: bool,
    /// What it contains, where that is known.
    pub contents: Option<Contents>,
}

impl Held {
    /// How many bytes of it count for this process.
    pub fn charge(&self) -> usize {
        if self.own {
            self.size
        } else {
            0
        }
    }

    /// Checks some pages from page `at` on, counted round, through a new mapping.
    pub fn check(&self, at: usize) -> Result<Answer> {
        let Some(contents) = self.contents else {
            return Ok(Answer::Skipped);
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
                Ok(Answer::Done)
            }
            Err(errno) => Ok(Answer::Failed(errno)),
        }
    }

    /// Checks the whole of it, and writes something else.
    pub fn rewrite(&mut self, seed: u64) -> Result<Answer> {
        if !self.own || self.access != libc::O_RDWR || self.size > REWRITTEN {
            return Ok(Answer::Skipped);
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
                Ok(Answer::Done)
            }
            Err(errno) => Ok(Answer::Failed(errno)),
        }
    }
}

fn zero(mapping: &Mapping) {
    for offset in (0..mapping.len()).step_by(WORD) {
        mapping.write(offset, 0);
    }
}

/// Checks that a new buffer is all zero, and writes into it where that is possible.
pub fn written(buffer: &Buffer, size: usize, access: i32, seed: u64) -> Result<Contents> {
    let writable = access == libc::O_RDWR;
    let mut protection = ProtFlags::PROT_READ;
    if writable {
        protection |= ProtFlags::PROT_WRITE;
    }
    let mapped = buffer.map_with(0, size, protection, MapFlags::MAP_SHARED);
    let mapping = match mapped {
        Ok(mapping) => mapping,
        Err(Errno::ENOMEM) => bail!("no memory for the page tables of {size:#x} bytes"),
        Err(errno) => return Err(errno).context("a new buffer cannot be mapped"),
    };
    mapping
        .check_zero()
        .with_context(|| format!("a new buffer of {size:#x} bytes is not zero"))?;
    if !writable {
        return Ok(Contents::ZERO);
    }
    let contents = Contents::of(seed, size);
    contents.fill(&mapping);
    Ok(contents)
}
