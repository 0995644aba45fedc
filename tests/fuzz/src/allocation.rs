// SPDX-License-Identifier: GPL-2.0

//! The allocation ioctl: what the kernel has to answer, and whether it does.

use crate::call::Answer;
use crate::places::Pointer;
use crate::process::Process;
use crate::random::Length;
use crate::system;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::heap::{
    AllocationData,
    Direction,
    Request, //
};
use guest_support::{
    memory,
    page_size, //
};
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::{
    AsFd,
    FromRawFd,
    OwnedFd, //
};

/// Of 256 calls that find no heap, this many load the module.
const LOADS: u8 = 16;

/// The heap behind a number, opened where that has not been done.
pub fn opened(process: &mut Process, heap: u8) -> nix::Result<File> {
    let count = process.targets.heaps.len();
    let which = usize::from(heap) % count.max(1);
    let path = process.targets.heaps.get(which).ok_or(Errno::ENOENT)?;
    let slot = process.heaps.get_mut(which).ok_or(Errno::ENOENT)?;
    let open = match slot {
        Some(open) => open,
        None => match File::open(path).map_err(|error| guest_support::errno_of(&error)) {
            Ok(open) => slot.insert(open),
            // Whoever has unloaded the module may have been killed before loading it again.
            Err(Errno::ENOENT) if heap < LOADS && nix::unistd::geteuid().is_root() => {
                let _ = system::load("");
                return Err(Errno::ENOENT);
            }
            Err(errno) => return Err(errno),
        },
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
    let long = |start: usize| {
        let bytes = bytes
            .get(start..start + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    let short = |start: usize| {
        let bytes = bytes
            .get(start..start + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    let (len, fd, fd_flags, heap_flags) = (long(0), short(8), short(12), long(16));
    let known = (libc::O_CLOEXEC | libc::O_ACCMODE) as u32;
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

/// The length that is asked for: as it was thought of, unless that is more than this process's
/// share but not more than the machine has.
pub fn bounded(process: &mut Process, length: Length) -> Result<u64> {
    let len = length.bytes();
    let (quota, page) = (process.quota as u64 / 2, page_size() as u64);
    if len > quota && len <= memory::total()? as u64 {
        return Ok(len % (quota - page) + 1);
    }
    Ok(len)
}

/// Allocates a buffer and judges what comes back: the answer, the descriptor, and the buffer's
/// contents.
pub fn allocate(
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
            let early =
                matches!(errno, Errno::ENOMEM | Errno::EINTR) && must == Some(Errno::EFAULT);
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
    // SAFETY: The call has made this descriptor: it was the next one that was free, and this
    // process has one thread.
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
