// SPDX-License-Identifier: GPL-2.0

//! Calls on heaps.

use crate::allocation::{
    allocate,
    bounded_length,
    open_heap, //
};
use crate::argument_memory::Pointer;
use crate::call::{
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::{
    Length,
    Random, //
};
use anyhow::{
    Context,
    Result, //
};
use guest_support::heap::{
    AllocationData,
    Direction,
    Request, //
};
use nix::errno::Errno;
use nix::sys::resource::{
    getrlimit,
    setrlimit,
    Resource, //
};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum HeapCall {
    /// Opens a device node again with other flags.
    Open {
        heap: u8,
        flags: i32,
    },
    Close {
        heap: u8,
    },
    /// Allocates with valid arguments.
    Allocate {
        heap: u8,
        length: Length,
        flags: i32,
    },
    /// Allocates with any arguments.
    AllocateOddly {
        heap: u8,
        length: Length,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
        request: Request,
        pointer: Pointer,
    },
    /// Allocates without a free descriptor.
    AllocateWithoutDescriptor {
        heap: u8,
        length: Length,
    },
}

/// The maximum size of a buffer, in pages.
const MAX_PAGES: u32 = 2048;

fn request(random: &mut Random) -> Request {
    let mut request = random.pick(&[Request::default(), Request::vendor()]);
    match random.below(8) {
        0 => {
            request.direction = random.pick(&[
                Direction::None,
                Direction::Read,
                Direction::Write,
                Direction::ReadWrite,
            ]);
        }
        1 => request.ioctl_type = random.index(),
        2 => request.number = random.pick(&[0, 0, 1, 2, 127, 255]),
        3 => {
            // A partial `fd_flags` field is excluded, because its expected result is hard to
            // compute.
            let some = match random.below(1 << 14) as usize {
                13..16 => 16,
                some => some,
            };
            request.size = random.pick(&[0, 1, 8, 12, 16, 23, 25, 32, 128, 129, 4096, 16383, some]);
        }
        _ => {}
    }
    request
}

impl HeapCall {
    pub fn generate(random: &mut Random) -> HeapCall {
        let heap = random.index();
        match random.below(100) {
            0..3 => HeapCall::Open {
                heap,
                flags: random.weighted(&[
                    (4, libc::O_RDONLY),
                    (3, libc::O_WRONLY),
                    (4, libc::O_RDWR),
                    (1, libc::O_PATH),
                ]) | random.flags(&[
                    libc::O_NONBLOCK,
                    libc::O_APPEND,
                    libc::O_TRUNC,
                    libc::O_SYNC,
                ]),
            },
            3..5 => HeapCall::Close { heap },
            5..8 => HeapCall::AllocateWithoutDescriptor {
                heap,
                length: random.length(16),
            },
            8..55 => HeapCall::Allocate {
                heap,
                length: {
                    let most = random.weighted(&[(70, 16), (25, 300), (5, MAX_PAGES)]);
                    random.length(most)
                },
                flags: random.weighted(&[
                    (16, libc::O_RDWR),
                    (2, libc::O_RDONLY),
                    (1, libc::O_WRONLY),
                    (1, libc::O_ACCMODE),
                ]) | random.pick(&[0, libc::O_CLOEXEC]),
            },
            _ => HeapCall::AllocateOddly {
                heap,
                length: random.boundary_length(),
                fd: match random.below(4) {
                    0 => random.boundary_value() as u32,
                    _ => 0,
                },
                fd_flags: match random.below(4) {
                    0 => random.boundary_value() as u32,
                    1 => random.flags(&[libc::O_CREAT, libc::O_NONBLOCK, libc::O_DIRECT]) as u32,
                    _ => (libc::O_RDWR | libc::O_CLOEXEC) as u32,
                },
                heap_flags: match random.below(5) {
                    0 => random.boundary_value(),
                    _ => 0,
                },
                request: request(random),
                pointer: Pointer::generate(random),
            },
        }
    }
}

impl Perform for HeapCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        match self {
            HeapCall::Open { heap, flags } => {
                let which = usize::from(*heap) % process.targets.heaps.len().max(1);
                let path = process.targets.heaps.get(which).context("no heap exists")?;
                let mode = flags & libc::O_ACCMODE;
                let opened = File::options()
                    .read(mode != libc::O_WRONLY)
                    .write(mode != libc::O_RDONLY)
                    .custom_flags(flags & !libc::O_ACCMODE)
                    .open(path);
                match (opened, process.heaps.get_mut(which)) {
                    (Ok(file), Some(slot)) => *slot = Some(file),
                    (Ok(_), None) => {}
                    (Err(error), _) => return Ok(Outcome::Failed(guest_support::errno_of(&error))),
                }
                Ok(Outcome::Done)
            }
            HeapCall::Close { heap } => {
                let which = usize::from(*heap) % process.targets.heaps.len().max(1);
                if let Some(slot) = process.heaps.get_mut(which) {
                    *slot = None;
                }
                Ok(Outcome::Done)
            }
            HeapCall::Allocate {
                heap,
                length,
                flags,
            } => {
                let data = AllocationData {
                    len: bounded_length(process, *length)?,
                    fd_flags: *flags as u32,
                    ..Default::default()
                };
                allocate(process, *heap, data, Request::default(), Pointer::Good)
            }
            HeapCall::AllocateOddly {
                heap,
                length,
                fd,
                fd_flags,
                heap_flags,
                request,
                pointer,
            } => {
                let data = AllocationData {
                    len: bounded_length(process, *length)?,
                    fd: *fd,
                    fd_flags: *fd_flags,
                    heap_flags: *heap_flags,
                };
                allocate(process, *heap, data, *request, *pointer)
            }
            HeapCall::AllocateWithoutDescriptor { heap, length } => {
                let data = AllocationData::read_write(bounded_length(process, *length)?.max(1));
                let heap = match open_heap(process, *heap) {
                    Ok(heap) => heap,
                    Err(errno) => return Ok(Outcome::Failed(errno)),
                };
                process.reserve_quota(usize::try_from(data.len).unwrap_or(usize::MAX));
                let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
                setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
                let request = Request::default();
                let result = process.arguments.ioctl(
                    heap.as_fd(),
                    request.code(),
                    Pointer::Good,
                    &data.to_bytes(),
                    request.size,
                );
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
                match result? {
                    Ok(_) => anyhow::bail!("allocation succeeded without a free descriptor"),
                    Err(errno) => Ok(Outcome::Failed(errno)),
                }
            }
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        // ENOENT, ENXIO, ENODEV: the module was unloaded.
        match self {
            HeapCall::Open { .. } => &[
                Errno::ENOENT,
                Errno::ENXIO,
                Errno::ENODEV,
                Errno::EACCES,
                Errno::EMFILE,
            ],
            HeapCall::Close { .. } => &[],
            // Includes the errors of opening a heap.
            HeapCall::Allocate { .. } => &[
                Errno::ENOMEM,
                Errno::EBADF,
                Errno::EMFILE,
                Errno::ENOENT,
                Errno::ENXIO,
                Errno::ENODEV,
                Errno::EACCES,
            ],
            HeapCall::AllocateOddly { .. } => &[
                Errno::EINVAL,
                Errno::EFAULT,
                Errno::ENOMEM,
                Errno::EBADF,
                Errno::EMFILE,
                Errno::ENOENT,
                Errno::ENXIO,
                Errno::ENODEV,
                Errno::EACCES,
            ],
            HeapCall::AllocateWithoutDescriptor { .. } => &[
                Errno::EMFILE,
                Errno::ENOMEM,
                Errno::EBADF,
                Errno::ENOENT,
                Errno::ENXIO,
                Errno::ENODEV,
                Errno::EACCES,
            ],
        }
    }
}
