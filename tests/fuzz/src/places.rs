// SPDX-License-Identifier: GPL-2.0

//! Where the arguments of calls lie: in memory as it should be, and in memory as it should not.

use crate::random::Random;
use anyhow::Result;
use guest_support::mapping::Mapping;
use guest_support::page_size;
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use std::os::fd::{
    AsRawFd,
    BorrowedFd, //
};

/// An address that a program could pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    Good,
    Unaligned,
    /// The second half lies in a page that is not there.
    Crossing,
    ReadOnly,
    Unmapped,
    Null,
    Kernel,
}

impl Pointer {
    /// Mostly a good one.
    pub fn generate(random: &mut Random) -> Pointer {
        random.weighted(&[
            (14, Pointer::Good),
            (1, Pointer::Unaligned),
            (1, Pointer::Crossing),
            (1, Pointer::ReadOnly),
            (1, Pointer::Unmapped),
            (1, Pointer::Null),
            (1, Pointer::Kernel),
        ])
    }

    pub fn can_be_read(self) -> bool {
        matches!(self, Pointer::Good | Pointer::Unaligned | Pointer::ReadOnly)
    }

    pub fn can_be_written(self) -> bool {
        matches!(self, Pointer::Good | Pointer::Unaligned)
    }
}

/// As long as an ioctl's argument can say that it is.
const LONGEST: usize = 1 << 14;

/// The places themselves: memory with enough room, then a page that is not there, then one that is
/// read-only.
pub struct Places {
    memory: Mapping,
    room: usize,
}

impl Places {
    pub fn new() -> Result<Places> {
        let (page, room) = (page_size(), (2 * LONGEST).next_multiple_of(page_size()));
        let read_only = (2 * LONGEST).next_multiple_of(page);
        let memory = Mapping::anonymous(room + page + read_only)?;
        memory.protect_range(room, page, ProtFlags::PROT_NONE)?;
        memory.protect_range(room + page, read_only, ProtFlags::PROT_READ)?;
        Ok(Places { memory, room })
    }

    /// Puts `bytes` where `pointer` says, as far as that is possible, and returns the address. The
    /// argument is `len` bytes long, which may be more.
    pub fn put(&self, pointer: Pointer, bytes: &[u8], len: usize) -> Result<usize> {
        let page = page_size();
        let start = self.memory.address();
        let offset = match pointer {
            Pointer::Good => 0,
            Pointer::Unaligned => 3,
            Pointer::Crossing => self.room - len.min(LONGEST) / 2,
            Pointer::ReadOnly => self.room + page,
            Pointer::Unmapped => return Ok(start + self.room),
            Pointer::Null => return Ok(0),
            // The highest addresses are the kernel's, on every machine.
            Pointer::Kernel => return Ok(usize::MAX - (1 << 20) + 1),
        };
        let bytes = match pointer {
            Pointer::Crossing => bytes.get(..(self.room - offset).min(bytes.len())),
            _ => bytes.get(..LONGEST.min(bytes.len())),
        };
        let bytes = bytes.unwrap_or_default();
        if pointer == Pointer::ReadOnly {
            let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            self.memory.protect_range(offset, page, both)?;
            self.memory
                .copy_in(offset, bytes.get(..page).unwrap_or(bytes));
            self.memory
                .protect_range(offset, page, ProtFlags::PROT_READ)?;
        } else {
            self.memory.copy_in(offset, bytes);
        }
        Ok(start + offset)
    }

    /// Reads back what the kernel may have written at a place that can be written.
    pub fn get(&self, pointer: Pointer, offset: usize, len: usize) -> Vec<u8> {
        let start = if pointer == Pointer::Unaligned { 3 } else { 0 };
        self.memory.copy_out(start + offset, len)
    }

    /// An ioctl with `bytes` as its argument, which is `len` bytes long.
    pub fn ioctl(
        &self,
        fd: BorrowedFd<'_>,
        command: u32,
        pointer: Pointer,
        bytes: &[u8],
        len: usize,
    ) -> Result<nix::Result<i32>> {
        let address = self.put(pointer, bytes, len)?;
        // SAFETY: The kernel can write to no memory of this process there but to the places, which
        // have room for the longest argument and which no reference points into.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), command as libc::Ioctl, address) };
        Ok(Errno::result(result))
    }
}
