// SPDX-License-Identifier: GPL-2.0

//! Access to mappings other than by reads of their own process: page references and access from
//! other processes.

use crate::arena::{
    self,
    Page, //
};
use crate::call::{
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::Random;
use anyhow::Result;
use guest_support::page_size;
use nix::errno::Errno;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OutsideCall {
    /// Passes pages to a pipe.
    Vmsplice { at: u8, pages: u8, gift: bool },
    /// Reads the memory of a process with process_vm_readv().
    ReadMemory { process: u8, at: u8, pages: u8 },
    /// Accesses the memory of a process through `/proc/PID/mem`.
    MemoryFile { process: u8, at: u8, write: bool },
}

impl OutsideCall {
    pub fn generate(random: &mut Random) -> OutsideCall {
        let (at, pages) = (random.index(), random.pick(&[1, 1, 2, 3, 8, 33]));
        match random.below(3) {
            0 => OutsideCall::Vmsplice {
                at,
                pages,
                gift: random.chance(50),
            },
            1 => OutsideCall::ReadMemory {
                process: random.index(),
                at,
                pages,
            },
            _ => OutsideCall::MemoryFile {
                process: random.index(),
                at,
                write: random.chance(30),
            },
        }
    }
}

/// Returns the PID of a process, if it has been started.
fn other(process: &Process, index: u8) -> Option<i32> {
    let all = process.shared.processes();
    let which = usize::from(index).checked_rem(all.len())?;
    Some(process.shared.pid(which)).filter(|pid| *pid > 0)
}

fn read_memory_file(process: &Process, pid: i32, at: u8, write: bool) -> nix::Result<()> {
    let file = std::fs::File::options()
        .read(true)
        .write(write)
        .open(format!("/proc/{pid}/mem"))
        .map_err(|error| guest_support::errno_of(&error))?;
    let address = process.arena.address(at.into()) as u64;
    let mut buffer = vec![0; page_size()];
    // Only write to private pages of the arena of this process. Elsewhere a write could destroy any
    // memory.
    let result = if write && pid == std::process::id() as i32 && may_write(process, at) {
        file.write_at(&buffer, address)
    } else {
        file.read_at(&mut buffer, address)
    };
    result
        .map(drop)
        .map_err(|error| guest_support::errno_of(&error))
}

/// Returns whether the contents of a page are not checked.
fn may_write(process: &Process, at: u8) -> bool {
    process.arena.page(at.into()) == Page::Private
}

fn vmsplice(process: &Process, range: std::ops::Range<usize>, gift: bool) -> nix::Result<()> {
    let (_reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK)?;
    let pages = libc::iovec {
        iov_base: process.arena.address(range.start) as *mut _,
        iov_len: range.len() * page_size(),
    };
    let flags = libc::SPLICE_F_NONBLOCK | if gift { libc::SPLICE_F_GIFT } else { 0 };
    // SAFETY: The kernel reads the pages or returns `EFAULT`; there are no references to them.
    let result = unsafe { libc::vmsplice(writer.as_raw_fd(), &pages, 1, flags) };
    Errno::result(result).map(drop)
}

fn read_other(process: &Process, pid: i32, range: std::ops::Range<usize>) -> nix::Result<()> {
    let mut buffer = vec![0u8; range.len() * page_size()];
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        // The processes are forked from one parent, but their arenas may have different addresses.
        // The range is unmapped then.
        iov_base: process.arena.address(range.start) as *mut _,
        iov_len: buffer.len(),
    };
    // SAFETY: The kernel writes to `buffer`, which has the given length.
    let result = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    Errno::result(result).map(drop)
}

impl Perform for OutsideCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        use arena::range;
        let result = match *self {
            OutsideCall::Vmsplice { at, pages, gift } => vmsplice(process, range(at, pages), gift),
            OutsideCall::ReadMemory {
                process: index,
                at,
                pages,
            } => match other(process, index) {
                Some(pid) => read_other(process, pid, range(at, pages)),
                None => return Ok(Outcome::Skipped),
            },
            OutsideCall::MemoryFile {
                process: index,
                at,
                write,
            } => match other(process, index) {
                Some(pid) => read_memory_file(process, pid, at, write),
                None => return Ok(Outcome::Skipped),
            },
        };
        Ok(result.into())
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            OutsideCall::Vmsplice { .. } => &[Errno::EFAULT, Errno::ENOMEM],
            // The kernel may lack this system call.
            OutsideCall::ReadMemory { .. } => {
                &[Errno::EFAULT, Errno::ENOSYS, Errno::EPERM, Errno::ESRCH]
            }
            OutsideCall::MemoryFile { .. } => &[
                Errno::EIO,
                Errno::EACCES,
                Errno::ENOENT,
                Errno::ESRCH,
                Errno::EPERM,
            ],
        }
    }
}
