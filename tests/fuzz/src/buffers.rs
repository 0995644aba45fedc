// SPDX-License-Identifier: GPL-2.0

//! Calls on a dma-buf's descriptor: its own ioctls, and those of any file.

use crate::call::{
    Answer,
    Perform, //
};
use crate::file_calls;
use crate::places::Pointer;
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
    /// Calls that every file has.
    File {
        buffer: u8,
        call: file_calls::FileCall,
    },
    /// Reads what `/proc` says of it.
    Describe {
        buffer: u8,
    },
    /// Checks what is in it.
    Check {
        buffer: u8,
        at: u32,
    },
    /// Writes something else into it.
    Rewrite {
        buffer: u8,
        seed: u64,
    },
    /// One of another exporter.
    Udmabuf {
        length: Length,
    },
    Close {
        buffer: u8,
    },
}

/// Which descriptor is passed.
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
            1 => FileChoice::Number(random.odd() as i32),
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

/// The type of a dma-buf's own ioctls.
const TYPE: u8 = b'b';

/// The size of their argument, and of their file's number and flags.
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
                    0 => random.odd(),
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
                    0 => random.odd() as u32,
                    _ => 1 + random.below(3),
                },
                pointer: Pointer::generate(random),
            },
            28..34 => BufferCall::ImportSyncFile {
                buffer,
                flags: match random.below(4) {
                    0 => random.odd() as u32,
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

/// An ioctl on a buffer; what it answers.
fn ioctl(
    process: &Process,
    buffer: u8,
    command: u32,
    pointer: Pointer,
    bytes: &[u8],
    len: usize,
) -> Result<Answer> {
    let Some(fd) = process.buffer(buffer) else {
        return Ok(Answer::Skipped);
    };
    let result = process.places.ioctl(fd, command, pointer, bytes, len)?;
    Ok(result.map(drop).into())
}

/// Flags and a descriptor, as two of the ioctls take them.
fn sync_file(flags: u32, fd: i32) -> Vec<u8> {
    [flags.to_ne_bytes(), fd.to_ne_bytes()].concat()
}

impl Perform for BufferCall {
    fn perform(&self, process: &mut Process) -> Result<Answer> {
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
                    return Ok(Answer::Failed(Errno::EMFILE));
                };
                let command = code(nix::request_code_readwrite!(TYPE, 2, SYNC_SIZE));
                let bytes = sync_file(*flags, -1);
                let answer = ioctl(process, *buffer, command, *pointer, &bytes, bytes.len())?;
                if matches!(answer, Answer::Done) {
                    // SAFETY: The call has made this descriptor: it was the next that was free.
                    let file = unsafe { OwnedFd::from_raw_fd(next) };
                    process.keep(file);
                }
                Ok(answer)
            }
            BufferCall::ImportSyncFile {
                buffer,
                flags,
                file,
                pointer,
            } => {
                let Some(fd) = file.raw(process) else {
                    return Ok(Answer::Skipped);
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
                    return Ok(Answer::Skipped);
                }
                let size = ((command >> 16) & 0x3fff) as usize;
                ioctl(process, *buffer, *command, *pointer, &[0xa5; 64], size)
            }
            BufferCall::File { buffer, call } => {
                let Some(fd) = process.buffer(*buffer) else {
                    return Ok(Answer::Skipped);
                };
                call.perform(fd, process).map(Answer::from)
            }
            BufferCall::Describe { buffer } => {
                let Some(held) = process.held(*buffer) else {
                    return Ok(Answer::Skipped);
                };
                let (info, size) = (held.buffer.info()?, held.size);
                anyhow::ensure!(info.size == size, "{info:?}, expected {size} bytes");
                Ok(Answer::Done)
            }
            BufferCall::Check { buffer, at } => process.check(*buffer, *at),
            BufferCall::Rewrite { buffer, seed } => process.rewrite(*buffer, *seed),
            BufferCall::Udmabuf { length } => udmabuf(process, *length),
            BufferCall::Close { buffer } => Ok(match process.close(*buffer) {
                Some(()) => Answer::Done,
                None => Answer::Skipped,
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
            // A mapping takes page tables.
            BufferCall::Check { .. } | BufferCall::Rewrite { .. } => &[Errno::ENOMEM],
            BufferCall::Describe { .. } | BufferCall::Close { .. } => &[],
        }
    }
}

fn udmabuf(process: &mut Process, length: Length) -> Result<Answer> {
    let len = usize::try_from(length.bytes())?;
    if !process.make_room(len) {
        return Ok(Answer::Skipped);
    }
    match guest_support::udmabuf::allocate(len) {
        Ok(buffer) => {
            process.adopt(into_fd(buffer)?, len as u64, libc::O_RDWR)?;
            Ok(Answer::Done)
        }
        Err(error) => crate::call::errno_in(&error)
            .map(Answer::Failed)
            .ok_or(error),
    }
}

fn into_fd(buffer: Buffer) -> Result<OwnedFd> {
    Ok(nix::unistd::dup(&buffer)?)
}
