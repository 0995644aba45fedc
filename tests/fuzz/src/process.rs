// SPDX-License-Identifier: GPL-2.0

//! The resources of a process: heaps, buffers, other descriptors, and a memory quota.

use crate::arena::Arena;
use crate::argument_memory::ArgumentMemory;
use crate::call::Outcome;
use crate::contents::Contents;
use crate::held::{
    check_zero_and_fill,
    HeldBuffer, //
};
use crate::shared::Shared;
use crate::targets::Targets;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::page_size;
use nix::errno::Errno;
use nix::sys::memfd::{
    memfd_create,
    MFdFlags, //
};
use nix::sys::resource::rlim_t;
use std::fs::File;
use std::os::fd::{
    AsFd,
    AsRawFd,
    BorrowedFd,
    OwnedFd,
    RawFd, //
};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

/// Maximum number of buffers that a process holds.
const BUFFERS: usize = 16;

/// Maximum number of buffers from other processes, which are charged to those processes.
const FOREIGN: usize = 3;

/// Maximum number of other descriptors.
const FILES: usize = 16;

/// Limit of open files of a process.
pub const DESCRIPTORS: rlim_t = 160;

/// A pair of connected sockets for each process, through which descriptors are passed.
pub struct Sockets {
    /// The ends for sending to the processes.
    pub senders: Vec<UnixDatagram>,
    /// The ends from which the processes receive.
    pub receivers: Vec<UnixDatagram>,
}

impl Sockets {
    pub fn new(processes: usize) -> Result<Sockets> {
        let pairs = (0..processes).map(|_| UnixDatagram::pair());
        let pairs = pairs.collect::<std::io::Result<Vec<_>>>()?;
        let (senders, receivers) = pairs.into_iter().unzip();
        Ok(Sockets { senders, receivers })
    }
}

/// The state of a worker process.
pub struct Process {
    pub number: usize,
    /// The depth of this process in the tree of forked processes.
    pub depth: usize,
    pub targets: Rc<Targets>,
    pub shared: Rc<Shared>,
    pub sockets: Rc<Sockets>,
    pub heaps: Vec<Option<File>>,
    buffers: Vec<HeldBuffer>,
    pub files: Vec<OwnedFd>,
    pub arguments: ArgumentMemory,
    pub arena: Arena,
    /// A memfd, for calls that need a regular file.
    pub scratch: File,
    /// The memory quota, in bytes.
    pub quota: usize,
    serial: u64,
}

impl Process {
    pub fn new(
        number: usize,
        quota: usize,
        targets: Rc<Targets>,
        shared: Rc<Shared>,
        sockets: Rc<Sockets>,
    ) -> Result<Process> {
        let scratch = File::from(memfd_create(c"scratch", MFdFlags::MFD_CLOEXEC)?);
        scratch.set_len(16 * page_size() as u64)?;
        Ok(Process {
            number,
            depth: 0,
            heaps: targets.heaps.iter().map(|_| None).collect(),
            targets,
            shared,
            sockets,
            buffers: Vec::new(),
            files: Vec::new(),
            arguments: ArgumentMemory::new()?,
            arena: Arena::new()?,
            scratch,
            quota,
            serial: 0,
        })
    }

    /// Updates the state after a fork: no buffer belongs to this process.
    pub fn fork(&mut self) -> Result<()> {
        self.arena.disown()?;
        self.depth += 1;
        for held in &mut self.buffers {
            held.own = false;
        }
        // The parent waits for the child and gives it half of its quota.
        self.quota /= 2;
        Ok(())
    }

    /// Releases all heaps and buffers, including buffers in the receive queue of this process.
    pub fn release(&mut self) -> Result<()> {
        while crate::descriptors::receive(self)? == Outcome::Done {}
        self.heaps.iter_mut().for_each(|heap| *heap = None);
        self.buffers.clear();
        self.files.clear();
        self.arena.clear(0..crate::arena::PAGES)?;
        Ok(())
    }

    /// Returns the lowest free descriptor, which the next call will use.
    pub fn next_descriptor(&self) -> Option<RawFd> {
        let copy = self.scratch.try_clone().ok()?;
        Some(copy.as_raw_fd())
    }

    /// Returns the index of a buffer, modulo the number of buffers.
    fn buffer_index(&self, index: u8) -> Option<usize> {
        usize::from(index).checked_rem(self.buffers.len())
    }

    /// Returns a buffer.
    pub fn held(&mut self, index: u8) -> Option<&mut HeldBuffer> {
        let which = self.buffer_index(index)?;
        self.buffers.get_mut(which)
    }

    /// Returns the descriptor of a buffer.
    pub fn buffer(&self, index: u8) -> Option<BorrowedFd<'_>> {
        let held = self.buffers.get(self.buffer_index(index)?)?;
        Some(held.buffer.as_fd())
    }

    /// Returns a descriptor that is not a buffer.
    pub fn file(&self, index: u8) -> Option<BorrowedFd<'_>> {
        let which = usize::from(index).checked_rem(self.files.len())?;
        Some(self.files.get(which)?.as_fd())
    }

    /// Adds a descriptor. Closes the oldest one if there are too many.
    pub fn add_file(&mut self, file: OwnedFd) {
        if self.files.len() >= FILES {
            self.files.remove(0);
        }
        self.files.push(file);
    }

    /// Closes a descriptor that is not a buffer.
    pub fn close_file(&mut self, index: u8) -> Option<()> {
        let which = usize::from(index).checked_rem(self.files.len())?;
        self.files.remove(which);
        Some(())
    }

    /// Closes a buffer.
    pub fn close(&mut self, index: u8) -> Option<()> {
        let which = self.buffer_index(index)?;
        self.buffers.remove(which);
        Some(())
    }

    /// Returns the unused part of the quota, in bytes.
    fn remaining_quota(&self) -> usize {
        let used: usize = self.buffers.iter().map(HeldBuffer::charge).sum();
        self.quota.saturating_sub(used)
    }

    /// Closes the oldest buffers until the unused quota is at least `size` bytes. Returns false if
    /// the quota is smaller.
    pub fn reserve_quota(&mut self, size: usize) -> bool {
        while self.remaining_quota() < size && !self.buffers.is_empty() {
            self.buffers.remove(0);
        }
        self.remaining_quota() >= size
    }

    /// Adds a new buffer that was requested with `len` bytes: checks its size and contents and
    /// fills it.
    pub fn add_new_buffer(&mut self, fd: OwnedFd, len: u64, access: i32) -> Result<()> {
        let buffer = Buffer::from(fd);
        let size = buffer.size()?;
        let expected = len.next_multiple_of(page_size() as u64);
        ensure!(
            size as u64 == expected,
            "the new buffer has {size:#x} bytes, {len:#x} were requested"
        );
        let contents = if access == libc::O_WRONLY {
            None
        } else {
            Some(check_zero_and_fill(
                &buffer,
                size,
                access,
                self.serial ^ 0x5eed,
            )?)
        };
        self.add(buffer, size, access, true, contents);
        Ok(())
    }

    /// Adds a descriptor from another source, either as a buffer or as another file.
    pub fn add_descriptor(&mut self, fd: OwnedFd) -> Result<()> {
        if !is_dma_buf(&fd) {
            self.add_file(fd);
            return Ok(());
        }
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL)?;
        let buffer = Buffer::from(fd);
        // Descriptors opened with `O_PATH` do not support seeking.
        let Ok(size) = buffer.size() else {
            return Ok(());
        };
        while self.buffers.iter().filter(|held| !held.own).count() >= FOREIGN {
            let Some(oldest) = self.buffers.iter().position(|held| !held.own) else {
                break;
            };
            self.buffers.remove(oldest);
        }
        self.add(buffer, size, flags & libc::O_ACCMODE, false, None);
        Ok(())
    }

    /// Adds a descriptor if it is a dma-buf, and closes it otherwise.
    pub fn add_if_dma_buf(&mut self, fd: OwnedFd) -> Result<()> {
        match is_dma_buf(&fd) {
            true => self.add_descriptor(fd),
            false => Ok(()),
        }
    }

    fn add(
        &mut self,
        buffer: Buffer,
        size: usize,
        access: i32,
        own: bool,
        contents: Option<Contents>,
    ) {
        if self.buffers.len() >= BUFFERS {
            self.buffers.remove(0);
        }
        self.serial += 1;
        self.buffers.push(HeldBuffer {
            buffer,
            serial: self.serial,
            size,
            access,
            own,
            contents,
        });
    }

    /// Duplicates the descriptor of a buffer onto that of another buffer with `dup2`.
    pub fn replace(&mut self, from: u8, to: u8) -> Option<nix::Result<()>> {
        let (from, to) = (self.buffer_index(from)?, self.buffer_index(to)?);
        let (source, target) = (self.buffers.get(from)?, self.buffers.get(to)?);
        // SAFETY: The descriptor of the target is open before and after the call.
        let result = unsafe { libc::dup2(source.buffer.raw_fd(), target.buffer.raw_fd()) };
        let (size, access) = (source.size, source.access);
        if from != to && result >= 0 {
            self.serial += 1;
            let serial = self.serial;
            let target = self.buffers.get_mut(to)?;
            (target.size, target.access, target.serial) = (size, access, serial);
            (target.own, target.contents) = (false, None);
        }
        Some(Errno::result(result).map(drop))
    }

    /// Checks pages of a buffer.
    pub fn check(&mut self, index: u8, at: u32) -> Result<Outcome> {
        match self.held(index) {
            Some(held) => held.check(at as usize),
            None => Ok(Outcome::Skipped),
        }
    }

    /// Writes new contents to a buffer.
    pub fn rewrite(&mut self, index: u8, seed: u64) -> Result<Outcome> {
        let Some(held) = self.held(index) else {
            return Ok(Outcome::Skipped);
        };
        let outcome = held.rewrite(seed)?;
        if let (Outcome::Done, serial, Some(contents)) = (outcome, held.serial, held.contents) {
            self.arena.update_contents(serial, contents);
        }
        Ok(outcome)
    }
}

/// Returns whether a descriptor is a dma-buf.
fn is_dma_buf(fd: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(path).is_ok_and(|path| path.to_string_lossy().starts_with("/dmabuf:"))
}
