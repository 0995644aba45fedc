// SPDX-License-Identifier: GPL-2.0

//! Calls on mappings of dma-bufs, in the arena.

use crate::arena::{self, Page, Question};
use crate::call::{Answer, Perform};
use crate::process::Process;
use crate::random::{Length, Random};
use anyhow::Result;
use guest_support::page_size;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum MappingCall {
    Map {
        buffer: u8,
        offset: Length,
        at: u8,
        pages: u8,
        protection: i32,
        flags: i32,
        /// Offset and length are counted round until they lie inside of the buffer.
        inside: bool,
    },
    Unmap { at: u8, pages: u8 },
    Remap {
        from: u8,
        pages: u8,
        to: u8,
        new_pages: u8,
        flags: i32,
    },
    Protect { at: u8, pages: u8, protection: i32 },
    Advise { at: u8, pages: u8, advice: i32 },
    Msync { at: u8, pages: u8, flags: i32 },
    Mlock { at: u8, pages: u8 },
    Munlock { at: u8, pages: u8 },
    Mincore { at: u8, pages: u8 },
    /// Reads pages and checks them.
    Read { at: u8, pages: u8 },
    Write { at: u8, pages: u8, junk: u8 },
    Vmsplice { at: u8, pages: u8, gift: bool },
    /// Reads a process's arena from outside, as a debugger does.
    ReadOther { process: u8, at: u8, pages: u8 },
    /// The same through `/proc/PID/mem`.
    ReadMemoryFile { process: u8, at: u8, write: bool },
}

/// All kinds of advice but those that have the kernel take memory for broken.
fn advice(random: &mut Random) -> i32 {
    match random.below(10) {
        0 => random.pick(&[-1, 5, 7, 26, 50, 99, 104, 255]),
        _ => random.pick(&[
            0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 102, 103,
        ]),
    }
}

fn protection(random: &mut Random) -> i32 {
    random.weighted(&[
        (8, libc::PROT_READ | libc::PROT_WRITE),
        (4, libc::PROT_READ),
        (2, libc::PROT_WRITE),
        (2, libc::PROT_NONE),
        (2, libc::PROT_READ | libc::PROT_EXEC),
        (1, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC),
        (1, 0x40),
    ])
}

impl MappingCall {
    pub fn generate(random: &mut Random) -> MappingCall {
        let (at, pages) = (random.index(), random.pick(&[1, 1, 2, 3, 5, 8, 16, 33, 64]));
        match random.below(100) {
            0..30 => MappingCall::Map {
                buffer: random.index(),
                offset: match random.below(3) {
                    0 => random.odd_length(),
                    1 => Length::Bytes(0),
                    _ => Length::Pages {
                        pages: random.below(16),
                        more: 0,
                    },
                },
                at,
                pages,
                protection: protection(random),
                flags: random.weighted(&[
                    (8, libc::MAP_SHARED),
                    (3, libc::MAP_PRIVATE),
                    (1, libc::MAP_SHARED_VALIDATE),
                    (1, 0),
                ]) | random.flags(&[
                    libc::MAP_POPULATE,
                    libc::MAP_POPULATE,
                    libc::MAP_LOCKED,
                    libc::MAP_NORESERVE,
                    libc::MAP_NORESERVE,
                    libc::MAP_NONBLOCK,
                    libc::MAP_STACK,
                    libc::MAP_SYNC,
                    libc::MAP_FIXED_NOREPLACE,
                ]),
                inside: random.chance(75),
            },
            30..37 => MappingCall::Unmap { at, pages },
            37..45 => MappingCall::Remap {
                from: at,
                pages,
                to: random.index(),
                new_pages: random.pick(&[pages, pages, 1, 2, 64]),
                flags: random.pick(&[0, 0, libc::MREMAP_DONTUNMAP]),
            },
            45..52 => MappingCall::Protect {
                at,
                pages,
                protection: protection(random),
            },
            52..64 => MappingCall::Advise {
                at,
                pages,
                advice: advice(random),
            },
            64..67 => MappingCall::Msync {
                at,
                pages,
                flags: random.below(9) as i32,
            },
            67..69 => MappingCall::Mlock { at, pages },
            69..71 => MappingCall::Munlock { at, pages },
            71..73 => MappingCall::Mincore { at, pages },
            73..85 => MappingCall::Read { at, pages },
            85..92 => MappingCall::Write {
                at,
                pages,
                junk: random.index(),
            },
            92..95 => MappingCall::Vmsplice {
                at,
                pages,
                gift: random.chance(50),
            },
            95..98 => MappingCall::ReadOther {
                process: random.index(),
                at,
                pages,
            },
            _ => MappingCall::ReadMemoryFile {
                process: random.index(),
                at,
                write: random.chance(30),
            },
        }
    }
}

fn map(process: &mut Process, call: &MappingCall) -> Result<Answer> {
    let MappingCall::Map {
        buffer,
        offset,
        at,
        pages,
        protection,
        flags,
        inside,
    } = call
    else {
        return Ok(Answer::Skipped);
    };
    let mut offset = offset.bytes();
    let mut range = arena::range(*at, *pages);
    let Some(held) = process.held(*buffer) else {
        return Ok(Answer::Skipped);
    };
    let (serial, contents, own) = (held.serial, held.contents, held.own);
    let size = held.size as u64;
    // As it was when the range was chosen: the arena is borrowed anew below.
    let raw = held.buffer.raw_fd();
    // SAFETY: The buffer stays where it is: nothing is closed before the mapping is made.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    if *inside {
        let (page, all) = (page_size() as u64, size / page_size() as u64);
        let start = offset / page % all;
        offset = start * page;
        let most = usize::try_from(all - start)?;
        range.end = range.end.min(range.start + most);
    }
    let end = offset.checked_add((range.len() * page_size()) as u64);
    let first = offset / page_size() as u64;
    let private = flags & libc::MAP_TYPE == libc::MAP_PRIVATE;
    let result = process
        .arena
        .map(range, (fd, offset), (*protection, *flags), |index| {
            match contents {
                _ if private => Page::Private,
                Some(contents) => Page::Shared {
                    serial,
                    number: first as usize + index,
                    contents,
                    own,
                },
                None => Page::Unknown,
            }
        });
    anyhow::ensure!(
        result.is_err() || end.is_some_and(|end| end <= size),
        "a buffer of {size:#x} bytes was mapped from {offset:#x} to {end:#x?}"
    );
    Ok(result.into())
}

/// Another process's pid, and whether there is one.
fn other(process: &Process, index: u8) -> Option<i32> {
    let all = process.shared.processes();
    let which = usize::from(index).checked_rem(all.len())?;
    Some(process.shared.pid(which)).filter(|pid| *pid > 0)
}

fn read_memory_file(process: &Process, pid: i32, at: u8, write: bool) -> nix::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .read(true)
        .write(write)
        .open(format!("/proc/{pid}/mem"))
        .map_err(|error| guest_support::errno_of(&error))?;
    let address = process.arena.address(at.into()) as u64;
    let mut room = vec![0; page_size()];
    // What is written there could be anything of the other process's, but for the arena of this one.
    let result = if write && pid == std::process::id() as i32 && may_write(process, at) {
        file.write_at(&room, address)
    } else {
        file.read_at(&mut room, address)
    };
    result
        .map(drop)
        .map_err(|error| guest_support::errno_of(&error))
}

/// Whether a page holds nothing that is checked.
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
    // SAFETY: The kernel takes the pages or reports `EFAULT`; no reference points there.
    let result = unsafe { libc::vmsplice(writer.as_raw_fd(), &pages, 1, flags) };
    Errno::result(result).map(drop)
}

fn read_other(process: &Process, pid: i32, range: std::ops::Range<usize>) -> nix::Result<()> {
    let mut room = vec![0u8; range.len() * page_size()];
    let local = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    let remote = libc::iovec {
        // All processes have been forked by one, but their arenas may lie elsewhere: then there is nothing.
        iov_base: process.arena.address(range.start) as *mut _,
        iov_len: room.len(),
    };
    // SAFETY: The kernel writes to `room`, which is as long as it says.
    let result = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    Errno::result(result).map(drop)
}

impl Perform for MappingCall {
    fn perform(&self, process: &mut Process) -> Result<Answer> {
        use arena::range;
        let arena = &mut process.arena;
        let result = match *self {
            MappingCall::Map { .. } => return map(process, self),
            MappingCall::Unmap { at, pages } => arena.unmap(range(at, pages)),
            MappingCall::Remap {
                from,
                pages,
                to,
                new_pages,
                flags,
            } => arena.remap(range(from, pages), range(to, new_pages), flags),
            MappingCall::Protect {
                at,
                pages,
                protection,
            } => arena.protect(range(at, pages), protection),
            MappingCall::Advise { at, pages, advice } => arena.advise(range(at, pages), advice),
            MappingCall::Msync { at, pages, flags } => {
                arena.ask(range(at, pages), Question::Msync(flags))
            }
            MappingCall::Mlock { at, pages } => arena.ask(range(at, pages), Question::Mlock),
            MappingCall::Munlock { at, pages } => arena.ask(range(at, pages), Question::Munlock),
            MappingCall::Mincore { at, pages } => arena.ask(range(at, pages), Question::Mincore),
            MappingCall::Read { at, pages } => {
                for page in range(at, pages) {
                    // One that cannot be read says nothing of the next.
                    if let Err(errno) = arena.check(page)? {
                        anyhow::ensure!(errno == Errno::EFAULT, "reading a mapping: {errno:?}");
                    }
                }
                Ok(())
            }
            MappingCall::Write { at, pages, junk } => {
                for page in range(at, pages) {
                    if let Some(Err(errno)) = arena.write(page, junk)? {
                        anyhow::ensure!(errno == Errno::EFAULT, "writing a mapping: {errno:?}");
                    }
                }
                Ok(())
            }
            MappingCall::Vmsplice { at, pages, gift } => vmsplice(process, range(at, pages), gift),
            MappingCall::ReadOther {
                process: index,
                at,
                pages,
            } => match other(process, index) {
                Some(pid) => read_other(process, pid, range(at, pages)),
                None => return Ok(Answer::Skipped),
            },
            MappingCall::ReadMemoryFile {
                process: index,
                at,
                write,
            } => match other(process, index) {
                Some(pid) => read_memory_file(process, pid, at, write),
                None => return Ok(Answer::Skipped),
            },
        };
        Ok(result.into())
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            MappingCall::Map { .. } => &[
                Errno::EINVAL,
                Errno::EACCES,
                Errno::EPERM,
                Errno::ENOMEM,
                Errno::EAGAIN,
                Errno::EOVERFLOW,
                Errno::EEXIST,
                Errno::EOPNOTSUPP,
            ],
            MappingCall::Unmap { .. } => &[],
            MappingCall::Remap { .. } => &[
                Errno::EINVAL,
                Errno::EFAULT,
                Errno::ENOMEM,
                Errno::EAGAIN,
            ],
            MappingCall::Protect { .. } => &[Errno::EACCES, Errno::EINVAL, Errno::ENOMEM],
            MappingCall::Advise { .. } => &[
                Errno::EINVAL,
                Errno::EACCES,
                Errno::EAGAIN,
                Errno::EBADF,
                Errno::EBUSY,
                Errno::EFAULT,
                Errno::ENODEV,
                Errno::ENOMEM,
                Errno::EOPNOTSUPP,
                Errno::EPERM,
            ],
            MappingCall::Msync { .. } => &[Errno::EINVAL, Errno::EBUSY, Errno::ENOMEM],
            MappingCall::Mlock { .. } => &[Errno::ENOMEM, Errno::EAGAIN, Errno::EPERM],
            MappingCall::Munlock { .. } | MappingCall::Mincore { .. } => &[Errno::ENOMEM],
            MappingCall::Read { .. } | MappingCall::Write { .. } => &[],
            MappingCall::Vmsplice { .. } => &[Errno::EFAULT, Errno::ENOMEM],
            MappingCall::ReadOther { .. } => &[Errno::EFAULT, Errno::EPERM, Errno::ESRCH],
            MappingCall::ReadMemoryFile { .. } => {
                &[Errno::EIO, Errno::EACCES, Errno::ENOENT, Errno::ESRCH, Errno::EPERM]
            }
        }
    }
}
