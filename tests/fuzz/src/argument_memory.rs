// SPDX-License-Identifier: GPL-2.0

//! Memory for the arguments of calls, at valid and invalid addresses.

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

/// The kind of address that is passed to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    Good,
    Unaligned,
    /// The second half of the argument is in an unmapped page.
    Crossing,
    ReadOnly,
    Unmapped,
    Null,
    Kernel,
}

impl Pointer {
    /// Generates a kind of address; most are valid.
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

/// The maximum argument size that an ioctl number can encode, plus one.
const MAX_ARGUMENT: usize = 1 << 14;

/// Memory for arguments, followed by an inaccessible page and a read-only area.
pub struct ArgumentMemory {
    memory: Mapping,
    capacity: usize,
}

impl ArgumentMemory {
    pub fn new() -> Result<ArgumentMemory> {
        let (page, capacity) = (
            page_size(),
            (2 * MAX_ARGUMENT).next_multiple_of(page_size()),
        );
        let read_only = (2 * MAX_ARGUMENT).next_multiple_of(page);
        let memory = Mapping::anonymous(capacity + page + read_only)?;
        memory.protect_range(capacity, page, ProtFlags::PROT_NONE)?;
        memory.protect_range(capacity + page, read_only, ProtFlags::PROT_READ)?;
        Ok(ArgumentMemory { memory, capacity })
    }

    /// Writes `bytes` to the address selected by `pointer`, as far as possible, and returns the
    /// address. `len` is the length of the argument and may be larger than `bytes`.
    pub fn write(&self, pointer: Pointer, bytes: &[u8], len: usize) -> Result<usize> {
        let page = page_size();
        let start = self.memory.address();
        let offset = match pointer {
            Pointer::Good => 0,
            Pointer::Unaligned => 3,
            Pointer::Crossing => self.capacity - len.min(MAX_ARGUMENT) / 2,
            Pointer::ReadOnly => self.capacity + page,
            Pointer::Unmapped => return Ok(start + self.capacity),
            Pointer::Null => return Ok(0),
            // The highest addresses belong to the kernel on every architecture.
            Pointer::Kernel => return Ok(usize::MAX - (1 << 20) + 1),
        };
        let bytes = match pointer {
            Pointer::Crossing => bytes.get(..(self.capacity - offset).min(bytes.len())),
            _ => bytes.get(..MAX_ARGUMENT.min(bytes.len())),
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

    /// Reads memory that the kernel may have written. `pointer` must be writable.
    pub fn read(&self, pointer: Pointer, offset: usize, len: usize) -> Vec<u8> {
        let start = if pointer == Pointer::Unaligned { 3 } else { 0 };
        self.memory.copy_out(start + offset, len)
    }

    /// Issues an ioctl with `bytes` as its argument of `len` bytes.
    pub fn ioctl(
        &self,
        fd: BorrowedFd<'_>,
        command: u32,
        pointer: Pointer,
        bytes: &[u8],
        len: usize,
    ) -> Result<nix::Result<i32>> {
        let address = self.write(pointer, bytes, len)?;
        // SAFETY: The kernel can only write to the argument memory, which has capacity for the
        // longest argument and to which there are no references.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), command as libc::Ioctl, address) };
        Ok(Errno::result(result))
    }
}
