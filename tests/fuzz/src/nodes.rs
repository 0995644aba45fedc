// SPDX-License-Identifier: GPL-2.0

//! Calls on the files of the module in `/proc` and `/sys`.

use crate::argument_memory::Pointer;
use crate::call::{
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::Random;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::errno_of;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum NodeCall {
    /// Opens a node and performs several steps on it.
    Read { node: u8, steps: Vec<Step> },
    /// Opens a node for writing, with or without permission, and writes to it.
    Write {
        node: u8,
        text: Vec<u8>,
        offset: Option<i64>,
        pointer: Pointer,
    },
    /// Reads a complete node.
    ReadAll { node: u8, piece: usize },
    /// Maps a node, which no node supports.
    Map { node: u8 },
}

/// A step on an open node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Read { len: usize, pointer: Pointer },
    ReadAt { len: usize, offset: i64 },
    Seek { offset: i64, whence: i32 },
}

const TEXTS: &[&[u8]] = &[
    b"0",
    b"0\n",
    b" 0 ",
    b"1",
    b"1\n",
    b"2",
    b"",
    b"\n",
    b"-1",
    b"00",
    b"0 0",
    b"Y",
    b"N",
    b"0x0",
    b"18446744073709551616",
    b"%s%s%n",
    b"\0",
    b"\xff\xfe",
];

/// The maximum number of bytes per read or write.
const MAX_TRANSFER: usize = 1 << 16;

/// Larger than the contents of any node, in bytes.
const MAX_NODE_SIZE: usize = 16 << 20;

impl NodeCall {
    pub fn generate(random: &mut Random) -> NodeCall {
        let node = random.index();
        match random.below(100) {
            0..45 => NodeCall::Read {
                node,
                steps: (0..1 + random.below(5))
                    .map(|_| Step::generate(random))
                    .collect(),
            },
            45..75 => NodeCall::Write {
                node,
                text: match random.below(4) {
                    // Values that some nodes accept.
                    0 => random.pick(&[b"0", b"1"]).to_vec(),
                    1 => {
                        let len = random.pick(&[1, 2, 31, 32, 33, 4095, 4096, 4097, MAX_TRANSFER]);
                        vec![random.pick(b"0 1a\n\0"); len]
                    }
                    _ => random.pick(TEXTS).to_vec(),
                },
                offset: random
                    .chance(20)
                    .then(|| random.pick(&[0, 1, 4096, -1, i64::MAX])),
                pointer: Pointer::generate(random),
            },
            75..97 => NodeCall::ReadAll {
                node,
                piece: random.pick(&[16, 61, 512, 4096, MAX_TRANSFER]),
            },
            _ => NodeCall::Map { node },
        }
    }
}

impl Step {
    fn generate(random: &mut Random) -> Step {
        let offset = random.boundary_value() as i64;
        let len = random.pick(&[0, 1, 2, 3, 100, 4095, 4096, MAX_TRANSFER]);
        match random.below(3) {
            0 => Step::Read {
                len,
                pointer: Pointer::generate(random),
            },
            1 => Step::ReadAt {
                len,
                offset: random.pick(&[0, 1, 50, 4096, offset]),
            },
            _ => Step::Seek {
                offset: random.pick(&[0, 1, 50, -1, offset]),
                whence: random.pick(&[0, 0, 1, 2, 3, 9]),
            },
        }
    }

    fn perform(self, file: &File, process: &Process) -> Result<nix::Result<()>> {
        let fd = file.as_raw_fd();
        let mut buffer = vec![0u8; MAX_TRANSFER];
        let result = match self {
            Step::Read { len, pointer } => {
                let len = len.min(1 << 14);
                let address = process.arguments.write(pointer, &[], len)?;
                // SAFETY: The kernel can only write to the argument memory, which is large enough.
                unsafe { libc::read(fd, address as *mut _, len) }
            }
            // SAFETY: `buffer` has the size of the longest read.
            Step::ReadAt { len, offset } => unsafe {
                libc::pread64(fd, buffer.as_mut_ptr().cast(), len, offset)
            },
            Step::Seek { offset, whence } => {
                // SAFETY: The call does not access memory.
                let place = unsafe { libc::lseek64(fd, offset, whence) };
                // Wider than the other results on some architectures.
                return Ok(Errno::result(place).map(drop));
            }
        };
        Ok(Errno::result(result).map(drop))
    }
}

fn open(process: &Process, node: u8, flags: i32) -> nix::Result<File> {
    let nodes = &process.targets.nodes;
    let path = nodes
        .get(usize::from(node) % nodes.len().max(1))
        .ok_or(Errno::ENOENT)?;
    let mode = flags & libc::O_ACCMODE;
    File::options()
        .read(mode != libc::O_WRONLY)
        .write(mode != libc::O_RDONLY)
        .custom_flags(flags & !libc::O_ACCMODE)
        .open(path)
        .map_err(|error| errno_of(&error))
}

fn read(process: &Process, node: u8, steps: &[Step]) -> Result<nix::Result<()>> {
    let file = match open(process, node, libc::O_RDONLY) {
        Ok(file) => file,
        Err(errno) => return Ok(Err(errno)),
    };
    let mut result = Ok(());
    for step in steps {
        result = result.and(step.perform(&file, process)?);
    }
    Ok(result)
}

fn read_all(process: &Process, node: u8, piece: usize) -> Result<nix::Result<()>> {
    use std::io::Read;
    let mut file = match open(process, node, libc::O_RDONLY) {
        Ok(file) => file,
        Err(errno) => return Ok(Err(errno)),
    };
    let mut buffer = vec![0; piece];
    let mut all = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(len) => all += len,
            Err(error) => return Ok(Err(errno_of(&error))),
        }
        ensure!(
            all < MAX_NODE_SIZE,
            "the node contains more than {MAX_NODE_SIZE} bytes"
        );
    }
}

fn write(
    process: &Process,
    node: u8,
    text: &[u8],
    offset: Option<i64>,
    pointer: Pointer,
) -> Result<nix::Result<()>> {
    let file = match open(process, node, libc::O_WRONLY) {
        Ok(file) => file,
        Err(errno) => return Ok(Err(errno)),
    };
    let fd = file.as_raw_fd();
    let address = match pointer {
        Pointer::Good => text.as_ptr() as usize,
        other => process.arguments.write(other, text, text.len())?,
    };
    // Other addresses have a limited capacity.
    let len = match pointer {
        Pointer::Good => text.len(),
        _ => text.len().min(1 << 14),
    };
    // SAFETY: The kernel only reads.
    let written = Errno::result(unsafe {
        match offset {
            Some(offset) => libc::pwrite64(fd, address as *const _, len, offset),
            None => libc::write(fd, address as *const _, len),
        }
    });
    if let Ok(written) = written {
        ensure!(
            usize::try_from(written).is_ok_and(|written| written <= len),
            "{written} of {len} bytes were written"
        );
        ensure!(
            pointer.can_be_read() || len == 0,
            "{written} bytes were written from unreadable memory"
        );
    }
    Ok(written.map(drop))
}

fn map(process: &Process, node: u8) -> Result<nix::Result<()>> {
    use guest_support::mapping::Mapping;
    use nix::sys::mman::{
        MapFlags,
        ProtFlags, //
    };
    use std::os::fd::AsFd;
    let file = match open(process, node, libc::O_RDONLY) {
        Ok(file) => file,
        Err(errno) => return Ok(Err(errno)),
    };
    let page = guest_support::page_size();
    let mapped = Mapping::of_fd(
        file.as_fd(),
        0,
        page,
        ProtFlags::PROT_READ,
        MapFlags::MAP_SHARED,
    );
    Ok(mapped.map(drop))
}

impl Perform for NodeCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        let path = |node: &u8| {
            let nodes = &process.targets.nodes;
            nodes.get(usize::from(*node) % nodes.len().max(1))
        };
        let (node, result) = match self {
            NodeCall::Read { node, steps } => (node, read(process, *node, steps)),
            NodeCall::Write {
                node,
                text,
                offset,
                pointer,
            } => (node, write(process, *node, text, *offset, *pointer)),
            NodeCall::ReadAll { node, piece } => (node, read_all(process, *node, *piece)),
            NodeCall::Map { node } => (node, map(process, *node)),
        };
        let result = result.with_context(|| format!("{:?}", path(node)))?;
        if let Err(errno) = result {
            ensure!(
                self.allowed().contains(&errno),
                "{:?}: {errno:?}",
                path(node)
            );
        }
        Ok(result.into())
    }

    fn allowed(&self) -> &'static [Errno] {
        // ENOENT, ENODEV and EIO are returned if the module is unloaded during the call.
        match self {
            NodeCall::Read { .. } => &[
                Errno::EINVAL,
                Errno::EFAULT,
                Errno::EACCES,
                Errno::ENOENT,
                Errno::ENODEV,
                Errno::EIO,
                Errno::EMFILE,
                Errno::ENXIO,
                Errno::ESPIPE,
                Errno::EOVERFLOW,
            ],
            NodeCall::ReadAll { .. } => &[
                Errno::EACCES,
                Errno::ENOENT,
                Errno::ENODEV,
                Errno::EIO,
                Errno::EMFILE,
                Errno::EINVAL,
            ],
            NodeCall::Write { .. } => &[
                Errno::EINVAL,
                Errno::EFAULT,
                Errno::EACCES,
                Errno::EPERM,
                Errno::EIO,
                Errno::EBADF,
                Errno::ENOENT,
                Errno::ENODEV,
                Errno::EMFILE,
                Errno::ESPIPE,
            ],
            NodeCall::Map { .. } => &[
                Errno::ENODEV,
                Errno::EIO,
                Errno::EACCES,
                Errno::ENOENT,
                Errno::EMFILE,
                Errno::EPERM,
                Errno::EINVAL,
            ],
        }
    }
}
