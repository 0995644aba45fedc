// SPDX-License-Identifier: GPL-2.0

//! Calls on the descriptor of a dma-buf: its ioctls and generic file system calls.

use crate::argument_memory::Pointer;
use crate::call::{
    Outcome,
    Perform, //
};
use crate::file_calls;
use crate::process::Process;
use crate::random::{
    Length,
    Random, //
};
use anyhow::Result;
use guest_support::dma_buf::Buffer;
use nix::errno::Errno;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum BufferCall {
    Sync {
        buffer: u8,
        flags: u64,
        pointer: Pointer,
    },
    SetName {
        buffer: u8,
        length: u8,
        byte: u8,
        wide: bool,
        pointer: Pointer,
    },
    ExportSyncFile {
        buffer: u8,
        flags: u32,
        pointer: Pointer,
    },
    ImportSyncFile {
        buffer: u8,
        flags: u32,
        file: FileChoice,
        pointer: Pointer,
    },
    OtherIoctl {
        buffer: u8,
        command: u32,
        pointer: Pointer,
    },
    /// A generic file system call.
    File {
        buffer: u8,
        call: file_calls::FileCall,
    },
    /// Reads and checks its `/proc/self/fdinfo`.
    Describe {
        buffer: u8,
    },
    /// Checks its contents.
    Check {
        buffer: u8,
        at: u32,
    },
    /// Writes new contents.
    Rewrite {
        buffer: u8,
        seed: u64,
    },
    /// Allocates a buffer from another exporter.
    Udmabuf {
        length: Length,
    },
    Close {
        buffer: u8,
    },
}

/// The descriptor that is passed as an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FileChoice {
    File(u8),
    Buffer(u8),
    Number(i32),
}

impl FileChoice {
    fn generate(random: &mut Random) -> FileChoice {
        match random.below(6) {
            0 => FileChoice::Buffer(random.index()),
            1 => FileChoice::Number(random.boundary_value() as i32),
            _ => FileChoice::File(random.index()),
        }
    }

    fn raw(self, process: &Process) -> Option<i32> {
        match self {
            FileChoice::File(index) => process.file(index).map(|fd| fd.as_raw_fd()),
            FileChoice::Buffer(index) => process.buffer(index).map(|fd| fd.as_raw_fd()),
            FileChoice::Number(number) => Some(number),
        }
    }
}

/// The ioctl type of dma-bufs.
const TYPE: u8 = b'b';

/// The size of `struct dma_buf_sync` and of the sync file structs, in bytes.
const SYNC_SIZE: usize = 8;

fn set_name(wide: bool) -> u32 {
    code(nix::request_code_write!(TYPE, 1, if wide { 8 } else { 4 }))
}

#[allow(clippy::unnecessary_cast)] // of another type on some architectures
fn code(number: libc::Ioctl) -> u32 {
    number as u32
}

impl BufferCall {
    pub fn generate(random: &mut Random) -> BufferCall {
        let buffer = random.index();
        match random.below(100) {
            0..12 => BufferCall::Sync {
                buffer,
                flags: match random.below(4) {
                    0 => random.boundary_value(),
                    _ => u64::from(random.below(8)),
                },
                pointer: Pointer::generate(random),
            },
            12..22 => BufferCall::SetName {
                buffer,
                length: random.pick(&[0, 1, 15, 16, 30, 31, 32, 33, 200]),
                byte: random.pick(&[b'a', b' ', b'\n', b'%', b'\\', b'-', 0xff, 1]),
                wide: random.chance(50),
                pointer: Pointer::generate(random),
            },
            22..28 => BufferCall::ExportSyncFile {
                buffer,
                flags: match random.below(4) {
                    0 => random.boundary_value() as u32,
                    _ => 1 + random.below(3),
                },
                pointer: Pointer::generate(random),
            },
            28..34 => BufferCall::ImportSyncFile {
                buffer,
                flags: match random.below(4) {
                    0 => random.boundary_value() as u32,
                    _ => 1 + random.below(3),
                },
                file: FileChoice::generate(random),
                pointer: Pointer::generate(random),
            },
            34..40 => BufferCall::OtherIoctl {
                buffer,
                command: (u32::from(TYPE) << 8)
                    | random.below(256)
                    | (random.below(64) << 16)
                    | (random.below(4) << 30),
                pointer: Pointer::generate(random),
            },
            40..65 => BufferCall::File {
                buffer,
                call: file_calls::FileCall::generate(random),
            },
            65..68 => BufferCall::Describe { buffer },
            68..82 => BufferCall::Check {
                buffer,
                at: random.below(4096),
            },
            82..88 => BufferCall::Rewrite {
                buffer,
                seed: random.number(),
            },
            88..92 => BufferCall::Udmabuf {
                length: random.length(64),
            },
            _ => BufferCall::Close { buffer },
        }
    }
}

/// Issues an ioctl on a buffer and returns its outcome.
fn ioctl(
    process: &Process,
    buffer: u8,
    command: u32,
    pointer: Pointer,
    bytes: &[u8],
    len: usize,
) -> Result<Outcome> {
    let Some(fd) = process.buffer(buffer) else {
        return Ok(Outcome::Skipped);
    };
    let result = process.arguments.ioctl(fd, command, pointer, bytes, len)?;
    Ok(result.map(drop).into())
}

/// Returns a sync file struct: flags and descriptor.
fn sync_file(flags: u32, fd: i32) -> Vec<u8> {
    [flags.to_ne_bytes(), fd.to_ne_bytes()].concat()
}

impl Perform for BufferCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        match self {
            BufferCall::Sync {
                buffer,
                flags,
                pointer,
            } => {
                let command = code(nix::request_code_write!(TYPE, 0, SYNC_SIZE));
                let bytes = flags.to_ne_bytes();
                ioctl(process, *buffer, command, *pointer, &bytes, bytes.len())
            }
            BufferCall::SetName {
                buffer,
                length,
                byte,
                wide,
                pointer,
            } => {
                let mut name = vec![*byte; (*length).into()];
                name.push(0);
                let command = set_name(*wide);
                ioctl(process, *buffer, command, *pointer, &name, name.len())
            }
            BufferCall::ExportSyncFile {
                buffer,
                flags,
                pointer,
            } => {
                let Some(next) = process.next_descriptor() else {
                    return Ok(Outcome::Failed(Errno::EMFILE));
                };
                let command = code(nix::request_code_readwrite!(TYPE, 2, SYNC_SIZE));
                let bytes = sync_file(*flags, -1);
                let outcome = ioctl(process, *buffer, command, *pointer, &bytes, bytes.len())?;
                if matches!(outcome, Outcome::Done) {
                    // SAFETY: The call has installed this descriptor, which was the lowest free
                    // one.
                    let file = unsafe { OwnedFd::from_raw_fd(next) };
                    process.add_file(file);
                }
                Ok(outcome)
            }
            BufferCall::ImportSyncFile {
                buffer,
                flags,
                file,
                pointer,
            } => {
                let Some(fd) = file.raw(process) else {
                    return Ok(Outcome::Skipped);
                };
                let command = code(nix::request_code_write!(TYPE, 3, SYNC_SIZE));
                let bytes = sync_file(*flags, fd);
                ioctl(process, *buffer, command, *pointer, &bytes, bytes.len())
            }
            BufferCall::OtherIoctl {
                buffer,
                command,
                pointer,
            } => {
                let known = [
                    code(nix::request_code_readwrite!(TYPE, 2, SYNC_SIZE)),
                    set_name(false),
                    set_name(true),
                ];
                if known.contains(command) {
                    return Ok(Outcome::Skipped);
                }
                let size = ((command >> 16) & 0x3fff) as usize;
                ioctl(process, *buffer, *command, *pointer, &[0xa5; 64], size)
            }
            BufferCall::File { buffer, call } => {
                let Some(fd) = process.buffer(*buffer) else {
                    return Ok(Outcome::Skipped);
                };
                call.perform(fd, process).map(Outcome::from)
            }
            BufferCall::Describe { buffer } => {
                let Some(held) = process.held(*buffer) else {
                    return Ok(Outcome::Skipped);
                };
                let (info, size) = (held.buffer.info()?, held.size);
                anyhow::ensure!(info.size == size, "{info:?}, expected {size} bytes");
                Ok(Outcome::Done)
            }
            BufferCall::Check { buffer, at } => process.check(*buffer, *at),
            BufferCall::Rewrite { buffer, seed } => process.rewrite(*buffer, *seed),
            BufferCall::Udmabuf { length } => udmabuf(process, *length),
            BufferCall::Close { buffer } => Ok(match process.close(*buffer) {
                Some(()) => Outcome::Done,
                None => Outcome::Skipped,
            }),
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            BufferCall::Sync { .. } | BufferCall::SetName { .. } => &[Errno::EINVAL, Errno::EFAULT],
            BufferCall::ExportSyncFile { .. } => &[Errno::EINVAL, Errno::EFAULT, Errno::EMFILE],
            BufferCall::ImportSyncFile { .. } => &[Errno::EINVAL, Errno::EFAULT],
            BufferCall::OtherIoctl { .. } => &[Errno::ENOTTY, Errno::EINVAL, Errno::EFAULT],
            BufferCall::File { call, .. } => call.allowed(),
            BufferCall::Udmabuf { .. } => {
                &[Errno::EINVAL, Errno::ENOMEM, Errno::EMFILE, Errno::ENOENT]
            }
            // Mappings need page tables.
            BufferCall::Check { .. } | BufferCall::Rewrite { .. } => &[Errno::ENOMEM],
            BufferCall::Describe { .. } | BufferCall::Close { .. } => &[],
        }
    }
}

fn udmabuf(process: &mut Process, length: Length) -> Result<Outcome> {
    let len = usize::try_from(length.bytes())?;
    if !process.reserve_quota(len) {
        return Ok(Outcome::Skipped);
    }
    match guest_support::udmabuf::allocate(len) {
        Ok(buffer) => {
            process.add_new_buffer(into_fd(buffer)?, len as u64, libc::O_RDWR)?;
            Ok(Outcome::Done)
        }
        Err(error) => crate::call::errno_in(&error)
            .map(Outcome::Failed)
            .ok_or(error),
    }
}

fn into_fd(buffer: Buffer) -> Result<OwnedFd> {
    Ok(nix::unistd::dup(&buffer)?)
}
