// SPDX-License-Identifier: GPL-2.0

//! Calls on mappings of dma-bufs in the arena.

use crate::arena::{
    self,
    Page,
    RangeQuery, //
};
use crate::call::{
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::{
    Length,
    Random, //
};
use anyhow::Result;
use guest_support::page_size;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

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
        /// Offset and length are reduced to a range within the buffer.
        inside: bool,
    },
    Unmap {
        at: u8,
        pages: u8,
    },
    Remap {
        from: u8,
        pages: u8,
        to: u8,
        new_pages: u8,
        flags: i32,
    },
    Protect {
        at: u8,
        pages: u8,
        protection: i32,
    },
    Advise {
        at: u8,
        pages: u8,
        advice: i32,
    },
    Msync {
        at: u8,
        pages: u8,
        flags: i32,
    },
    Mlock {
        at: u8,
        pages: u8,
    },
    Munlock {
        at: u8,
        pages: u8,
    },
    Mincore {
        at: u8,
        pages: u8,
    },
    /// Reads and checks pages.
    Read {
        at: u8,
        pages: u8,
    },
    Write {
        at: u8,
        pages: u8,
        junk: u8,
    },
}

/// Generates advice. Excludes hardware poisoning.
fn advice(random: &mut Random) -> i32 {
    match random.below(10) {
        0 => random.pick(&[-1, 5, 7, 26, 50, 99, 104, 255]),
        _ => random.pick(&[
            0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
            102, 103,
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
        match random.below(92) {
            0..30 => MappingCall::Map {
                buffer: random.index(),
                offset: match random.below(3) {
                    0 => random.boundary_length(),
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
            _ => MappingCall::Write {
                at,
                pages,
                junk: random.index(),
            },
        }
    }
}

fn map(process: &mut Process, call: &MappingCall) -> Result<Outcome> {
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
        return Ok(Outcome::Skipped);
    };
    let mut offset = offset.bytes();
    let mut range = arena::range(*at, *pages);
    let Some(held) = process.held(*buffer) else {
        return Ok(Outcome::Skipped);
    };
    let (serial, contents, own) = (held.serial, held.contents, held.own);
    let size = held.size as u64;
    // The arena is borrowed mutably below.
    let raw = held.buffer.raw_fd();
    // SAFETY: The buffer is not closed before the descriptor is used.
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
    let result =
        process.arena.map(
            range,
            (fd, offset),
            (*protection, *flags),
            |index| match contents {
                _ if private => Page::Private,
                Some(contents) => Page::Shared {
                    serial,
                    number: first as usize + index,
                    contents,
                    own,
                },
                None => Page::Unknown,
            },
        );
    anyhow::ensure!(
        result.is_err() || end.is_some_and(|end| end <= size),
        "a buffer of {size:#x} bytes was mapped from {offset:#x} to {end:#x?}"
    );
    Ok(result.into())
}

impl Perform for MappingCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
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
                arena.query(range(at, pages), RangeQuery::Msync(flags))
            }
            MappingCall::Mlock { at, pages } => arena.query(range(at, pages), RangeQuery::Mlock),
            MappingCall::Munlock { at, pages } => {
                arena.query(range(at, pages), RangeQuery::Munlock)
            }
            MappingCall::Mincore { at, pages } => {
                arena.query(range(at, pages), RangeQuery::Mincore)
            }
            MappingCall::Read { at, pages } => {
                for page in range(at, pages) {
                    // Continue with the next page if a page is not readable.
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
            MappingCall::Remap { .. } => {
                &[Errno::EINVAL, Errno::EFAULT, Errno::ENOMEM, Errno::EAGAIN]
            }
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
        }
    }
}
