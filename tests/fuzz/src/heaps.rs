// SPDX-License-Identifier: GPL-2.0

//! Calls on heaps.

use crate::call::{Answer, Perform};
use crate::places::Pointer;
use crate::process::Process;
use crate::random::{Length, Random};
use anyhow::{ensure, Context, Result};
use guest_support::heap::{AllocationData, Direction, Request};
use guest_support::{memory, page_size};
use nix::errno::Errno;
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum HeapCall {
    /// Opens a node anew, in some mode.
    Open { heap: u8, flags: i32 },
    Close { heap: u8 },
    /// As programs do.
    Allocate {
        heap: u8,
        length: Length,
        flags: i32,
    },
    /// As they should not.
    AllocateOddly {
        heap: u8,
        length: Length,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
        request: Request,
        pointer: Pointer,
    },
    /// With no descriptor left.
    AllocateWithoutDescriptor { heap: u8, length: Length },
}

/// The largest buffer, in pages.
const LARGEST: u32 = 2048;

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
        1 => request.kind = random.index(),
        2 => request.number = random.pick(&[0, 0, 1, 2, 127, 255]),
        3 => {
            // Half a field of flags is left out: then it is hard to say what the caller gets.
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
                flags: random.pick(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_PATH])
                    | random.flags(&[libc::O_NONBLOCK, libc::O_APPEND, libc::O_TRUNC, libc::O_SYNC]),
            },
            3..5 => HeapCall::Close { heap },
            5..8 => HeapCall::AllocateWithoutDescriptor {
                heap,
                length: random.length(16),
            },
            8..55 => HeapCall::Allocate {
                heap,
                length: {
                    let most = random.weighted(&[(70, 16), (25, 300), (5, LARGEST)]);
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
                length: random.odd_length(),
                fd: match random.below(4) {
                    0 => random.odd() as u32,
                    _ => 0,
                },
                fd_flags: match random.below(4) {
                    0 => random.odd() as u32,
                    1 => random.flags(&[libc::O_CREAT, libc::O_NONBLOCK, libc::O_DIRECT]) as u32,
                    _ => (libc::O_RDWR | libc::O_CLOEXEC) as u32,
                },
                heap_flags: match random.below(5) {
                    0 => random.odd(),
                    _ => 0,
                },
                request: request(random),
                pointer: Pointer::generate(random),
            },
        }
    }
}

/// The heap behind a number, opened where that has not been done.
fn opened(process: &mut Process, heap: u8) -> nix::Result<File> {
    let count = process.targets.heaps.len();
    let which = usize::from(heap) % count.max(1);
    let path = process.targets.heaps.get(which).ok_or(Errno::ENOENT)?;
    let slot = process.heaps.get_mut(which).ok_or(Errno::ENOENT)?;
    let open = match slot {
        Some(open) => open,
        None => slot.insert(File::open(path).map_err(|error| guest_support::errno_of(&error))?),
    };
    open.try_clone()
        .map_err(|error| guest_support::errno_of(&error))
}

/// What the kernel has to answer to a request, as far as that depends on nothing else.
fn expected(request: &Request, pointer: Pointer, data: &AllocationData) -> Option<Errno> {
    if request.number != 0 {
        return Some(Errno::EINVAL);
    }
    let reads = matches!(request.direction, Direction::Write | Direction::ReadWrite);
    if reads && request.size > 0 && !pointer.can_be_read() {
        return Some(Errno::EFAULT);
    }
    // What is not passed counts as 0.
    let mut bytes = [0; size_of::<AllocationData>()];
    let passed = if reads { request.size } else { 0 };
    for (target, source) in bytes.iter_mut().zip(data.to_bytes().iter().take(passed)) {
        *target = *source;
    }
    let field = |start: usize, len: usize| -> u64 {
        let bytes = bytes.get(start..start + len).unwrap_or_default();
        if cfg!(target_endian = "little") {
            bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
        } else {
            bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
        }
    };
    let (len, fd, fd_flags, heap_flags) = (field(0, 8), field(8, 4), field(12, 4), field(16, 8));
    let known = (libc::O_CLOEXEC | libc::O_ACCMODE) as u64;
    if fd != 0 || fd_flags & !known != 0 || heap_flags != 0 {
        return Some(Errno::EINVAL);
    }
    match len.checked_next_multiple_of(page_size() as u64) {
        None | Some(0) => return Some(Errno::EINVAL),
        Some(_) => {}
    }
    let returns = matches!(request.direction, Direction::Read | Direction::ReadWrite);
    (returns && request.size > 0 && !pointer.can_be_written()).then_some(Errno::EFAULT)
}

/// The length that is asked for: as it was thought of, unless that is more than this process's share but not more than
/// the machine has.
fn bounded(process: &mut Process, length: Length) -> Result<u64> {
    let len = length.bytes();
    let (quota, page) = (process.quota as u64 / 2, page_size() as u64);
    if len > quota && len <= memory::total()? as u64 {
        return Ok(len % (quota - page) + 1);
    }
    Ok(len)
}

fn allocate(
    process: &mut Process,
    heap: u8,
    data: AllocationData,
    request: Request,
    pointer: Pointer,
) -> Result<Answer> {
    let heap = match opened(process, heap) {
        Ok(heap) => heap,
        Err(errno) => return Ok(Answer::Failed(errno)),
    };
    let path = nix::fcntl::OFlag::from_bits_retain(nix::fcntl::fcntl(
        &heap,
        nix::fcntl::FcntlArg::F_GETFL,
    )?);
    let size = usize::try_from(data.len).unwrap_or(usize::MAX);
    if size <= process.quota {
        process.make_room(size + page_size());
    }
    let Some(next) = process.next_descriptor() else {
        return Ok(Answer::Failed(Errno::EMFILE));
    };
    let result = process.places.ioctl(
        heap.as_fd(),
        request.code(),
        pointer,
        &data.to_bytes(),
        request.size,
    )?;
    let must = match path.contains(nix::fcntl::OFlag::O_PATH) {
        true => Some(Errno::EBADF),
        false => expected(&request, pointer, &data),
    };
    match (result, must) {
        (Ok(_), None) => {}
        (Ok(_), Some(errno)) => anyhow::bail!("a buffer was handed out, expected {errno:?}"),
        (Err(errno), must) => {
            ensure!(
                process.next_descriptor() == Some(next),
                "failed with {errno:?}, but there is a new descriptor {next}"
            );
            // The memory may be short before the last error is found.
            let early = matches!(errno, Errno::ENOMEM | Errno::EINTR) && must == Some(Errno::EFAULT);
            ensure!(
                must.is_none_or(|must| must == errno || early),
                "failed with {errno:?}, expected {must:?}"
            );
            return Ok(Answer::Failed(errno));
        }
    }
    let whole = size_of::<AllocationData>();
    if request.direction == Direction::ReadWrite && request.size >= whole {
        let told = process.places.get(pointer, 8, 4);
        ensure!(
            told == (next as u32).to_ne_bytes(),
            "descriptor {next} was expected, and {told:?} was told"
        );
    }
    // SAFETY: The call has made this descriptor: it was the next one that was free, and this process has one thread.
    let fd = unsafe { OwnedFd::from_raw_fd(next) };
    let len = match request.size {
        0..8 => return Ok(Answer::Done),
        _ => data.len,
    };
    let flags = match request.size {
        16.. => data.fd_flags as i32,
        _ => 0,
    };
    let on_exec = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD)?;
    ensure!(
        (on_exec & libc::FD_CLOEXEC != 0) == (flags & libc::O_CLOEXEC != 0),
        "the descriptor's flags are {on_exec:#x}, {flags:#x} was asked for"
    );
    match flags & libc::O_ACCMODE {
        // Neither: nothing can be done with it.
        libc::O_ACCMODE => drop(fd),
        access => process.adopt(fd, len, access)?,
    }
    Ok(Answer::Done)
}

impl Perform for HeapCall {
    fn perform(&self, process: &mut Process) -> Result<Answer> {
        match self {
            HeapCall::Open { heap, flags } => {
                let which = usize::from(*heap) % process.targets.heaps.len().max(1);
                let path = process.targets.heaps.get(which).context("no heap")?;
                let mode = flags & libc::O_ACCMODE;
                let opened = File::options()
                    .read(mode != libc::O_WRONLY)
                    .write(mode != libc::O_RDONLY)
                    .custom_flags(flags & !libc::O_ACCMODE)
                    .open(path);
                match (opened, process.heaps.get_mut(which)) {
                    (Ok(file), Some(slot)) => *slot = Some(file),
                    (Ok(_), None) => {}
                    (Err(error), _) => return Ok(Answer::Failed(guest_support::errno_of(&error))),
                }
                Ok(Answer::Done)
            }
            HeapCall::Close { heap } => {
                let which = usize::from(*heap) % process.targets.heaps.len().max(1);
                if let Some(slot) = process.heaps.get_mut(which) {
                    *slot = None;
                }
                Ok(Answer::Done)
            }
            HeapCall::Allocate {
                heap,
                length,
                flags,
            } => {
                let data = AllocationData {
                    len: bounded(process, *length)?,
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
                    len: bounded(process, *length)?,
                    fd: *fd,
                    fd_flags: *fd_flags,
                    heap_flags: *heap_flags,
                };
                allocate(process, *heap, data, *request, *pointer)
            }
            HeapCall::AllocateWithoutDescriptor { heap, length } => {
                let data = AllocationData::read_write(bounded(process, *length)?.max(1));
                let heap = match opened(process, *heap) {
                    Ok(heap) => heap,
                    Err(errno) => return Ok(Answer::Failed(errno)),
                };
                process.make_room(usize::try_from(data.len).unwrap_or(usize::MAX));
                let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
                setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
                let request = Request::default();
                let result = process.places.ioctl(
                    heap.as_fd(),
                    request.code(),
                    Pointer::Good,
                    &data.to_bytes(),
                    request.size,
                );
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
                match result? {
                    Ok(_) => anyhow::bail!("a descriptor was handed out where none was left"),
                    Err(errno) => Ok(Answer::Failed(errno)),
                }
            }
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        // ENOENT, ENXIO, ENODEV: the module was just unloaded.
        match self {
            HeapCall::Open { .. } => &[
                Errno::ENOENT,
                Errno::ENXIO,
                Errno::ENODEV,
                Errno::EACCES,
                Errno::EMFILE,
            ],
            HeapCall::Close { .. } => &[],
            // What a heap that is opened meanwhile answers comes in addition.
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
