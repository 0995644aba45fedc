// SPDX-License-Identifier: GPL-2.0

//! What a process has: heaps, buffers, other descriptors, and a share of the memory.

use crate::arena::Arena;
use crate::call::Answer;
use crate::contents::Contents;
use crate::held::{
    written,
    Held, //
};
use crate::places::Places;
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

/// How many buffers a process holds at a time.
const BUFFERS: usize = 16;

/// How many of them may be those of others, which count for them.
const FOREIGN: usize = 3;

/// How many other descriptors.
const FILES: usize = 16;

/// How many descriptors a process may have.
pub const DESCRIPTORS: rlim_t = 160;

pub struct Process {
    pub number: usize,
    /// Of the processes that other processes forked, how deep.
    pub depth: usize,
    pub targets: Rc<Targets>,
    pub shared: Rc<Shared>,
    /// A line to each process, and this one's end of its own.
    pub lines: Rc<Vec<UnixDatagram>>,
    pub inbox: Rc<Vec<UnixDatagram>>,
    pub heaps: Vec<Option<File>>,
    buffers: Vec<Held>,
    pub files: Vec<OwnedFd>,
    pub places: Places,
    pub arena: Arena,
    /// A plain file in memory, for calls that take one.
    pub scratch: File,
    /// How many bytes it may have in use.
    pub quota: usize,
    serial: u64,
}

impl Process {
    pub fn new(
        number: usize,
        quota: usize,
        targets: Rc<Targets>,
        shared: Rc<Shared>,
        lines: Rc<Vec<UnixDatagram>>,
        inbox: Rc<Vec<UnixDatagram>>,
    ) -> Result<Process> {
        let scratch = File::from(memfd_create(c"scratch", MFdFlags::MFD_CLOEXEC)?);
        scratch.set_len(16 * page_size() as u64)?;
        Ok(Process {
            number,
            depth: 0,
            heaps: targets.heaps.iter().map(|_| None).collect(),
            targets,
            shared,
            lines,
            inbox,
            buffers: Vec::new(),
            files: Vec::new(),
            places: Places::new()?,
            arena: Arena::new()?,
            scratch,
            quota,
            serial: 0,
        })
    }

    /// What a process that was just forked has: the same, but nothing of it is its own.
    pub fn fork(&mut self) -> Result<()> {
        self.arena.disown()?;
        self.depth += 1;
        for held in &mut self.buffers {
            held.own = false;
        }
        // Its parent's share is its own while that waits for it.
        self.quota /= 2;
        Ok(())
    }

    /// Lets go of every heap and buffer, those included that are on their way to this process.
    pub fn release(&mut self) -> Result<()> {
        while crate::descriptors::receive(self)? == Answer::Done {}
        self.heaps.iter_mut().for_each(|heap| *heap = None);
        self.buffers.clear();
        self.files.clear();
        self.arena.clear(0..crate::arena::PAGES)?;
        Ok(())
    }

    /// The lowest descriptor that is free: the one that the next call makes.
    pub fn next_descriptor(&self) -> Option<RawFd> {
        let copy = self.scratch.try_clone().ok()?;
        Some(copy.as_raw_fd())
    }

    /// Which of the buffers is meant, counted round.
    pub fn which(&self, index: u8) -> Option<usize> {
        usize::from(index).checked_rem(self.buffers.len())
    }

    /// A buffer.
    pub fn held(&mut self, index: u8) -> Option<&mut Held> {
        let which = self.which(index)?;
        self.buffers.get_mut(which)
    }

    /// A buffer's descriptor.
    pub fn buffer(&self, index: u8) -> Option<BorrowedFd<'_>> {
        let held = self.buffers.get(self.which(index)?)?;
        Some(held.buffer.as_fd())
    }

    /// A descriptor that is no buffer's.
    pub fn file(&self, index: u8) -> Option<BorrowedFd<'_>> {
        let which = usize::from(index).checked_rem(self.files.len())?;
        Some(self.files.get(which)?.as_fd())
    }

    /// Keeps a descriptor, for which another one may have to go.
    pub fn keep(&mut self, file: OwnedFd) {
        if self.files.len() >= FILES {
            self.files.remove(0);
        }
        self.files.push(file);
    }

    /// Closes a descriptor.
    pub fn close_file(&mut self, index: u8) -> Option<()> {
        let which = usize::from(index).checked_rem(self.files.len())?;
        self.files.remove(which);
        Some(())
    }

    /// Closes a buffer.
    pub fn close(&mut self, index: u8) -> Option<()> {
        let which = self.which(index)?;
        self.buffers.remove(which);
        Some(())
    }

    /// How many bytes are left of this process's share.
    fn left(&self) -> usize {
        let used: usize = self.buffers.iter().map(Held::charge).sum();
        self.quota.saturating_sub(used)
    }

    /// Makes room for `size` bytes, for which the oldest buffers go. False where the share is too
    /// small.
    pub fn make_room(&mut self, size: usize) -> bool {
        while self.left() < size && !self.buffers.is_empty() {
            self.buffers.remove(0);
        }
        self.left() >= size
    }

    /// Takes a buffer that was just made with `len` bytes: checks all that it has to be, and writes
    /// into it.
    pub fn adopt(&mut self, fd: OwnedFd, len: u64, access: i32) -> Result<()> {
        let buffer = Buffer::from(fd);
        let size = buffer.size()?;
        let expected = len.next_multiple_of(page_size() as u64);
        ensure!(
            size as u64 == expected,
            "the new buffer has {size:#x} bytes, {len:#x} were asked for"
        );
        let contents = if access == libc::O_WRONLY {
            None
        } else {
            Some(written(&buffer, size, access, self.serial ^ 0x5eed)?)
        };
        self.add(buffer, size, access, true, contents);
        Ok(())
    }

    /// Takes a descriptor that came from somewhere else; one that is no dma-buf's is closed, or
    /// kept as a plain file.
    pub fn take(&mut self, fd: OwnedFd) -> Result<()> {
        if !is_dma_buf(&fd) {
            self.keep(fd);
            return Ok(());
        }
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL)?;
        let buffer = Buffer::from(fd);
        // What was opened with `O_PATH` can do nothing.
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

    /// Takes a descriptor that may be any; one that is no dma-buf's is closed.
    pub fn take_dma_buf(&mut self, fd: OwnedFd) -> Result<()> {
        match is_dma_buf(&fd) {
            true => self.take(fd),
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
        self.buffers.push(Held {
            buffer,
            serial: self.serial,
            size,
            access,
            own,
            contents,
        });
    }

    /// `dup2` of a buffer's descriptor onto that of another.
    pub fn replace(&mut self, from: u8, to: u8) -> Option<nix::Result<()>> {
        let (from, to) = (self.which(from)?, self.which(to)?);
        let (source, target) = (self.buffers.get(from)?, self.buffers.get(to)?);
        // SAFETY: The target's descriptor is open before and after.
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

    /// Checks some pages of a buffer.
    pub fn check(&mut self, index: u8, at: u32) -> Result<Answer> {
        match self.held(index) {
            Some(held) => held.check(at as usize),
            None => Ok(Answer::Skipped),
        }
    }

    /// Writes something else into a buffer.
    pub fn rewrite(&mut self, index: u8, seed: u64) -> Result<Answer> {
        let Some(held) = self.held(index) else {
            return Ok(Answer::Skipped);
        };
        let answer = held.rewrite(seed)?;
        if let (Answer::Done, serial, Some(contents)) = (answer, held.serial, held.contents) {
            self.arena.rewritten(serial, contents);
        }
        Ok(answer)
    }
}

/// Whether a descriptor is a dma-buf's.
fn is_dma_buf(fd: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(path).is_ok_and(|path| path.to_string_lossy().starts_with("/dmabuf:"))
}
