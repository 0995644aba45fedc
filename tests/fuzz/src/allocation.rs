// SPDX-License-Identifier: GPL-2.0

//! The allocation ioctl and the checks of its result.

use crate::argument_memory::Pointer;
use crate::call::Outcome;
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

/// Number of 256 calls without a heap that load the module.
const LOADS: u8 = 16;

/// Returns a heap, modulo the number of heaps. Opens it if necessary.
pub fn open_heap(process: &mut Process, heap: u8) -> nix::Result<File> {
    let count = process.targets.heaps.len();
    let which = usize::from(heap) % count.max(1);
    let path = process.targets.heaps.get(which).ok_or(Errno::ENOENT)?;
    let slot = process.heaps.get_mut(which).ok_or(Errno::ENOENT)?;
    let open = match slot {
        Some(open) => open,
        None => match File::open(path).map_err(|error| guest_support::errno_of(&error)) {
            Ok(open) => slot.insert(open),
            // The process that unloaded the module may have been killed before it reloaded it.
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

/// `RK_DMA_HEAP_UNCACHED`, which only the nodes of this folder know.
const UNCACHED: u64 = 1;
const WITH_UNCACHED: &str = "/dev/rk_dma_heap";

/// Returns the heap flags that the heap supports.
fn heap_flags_of(process: &Process, heap: u8) -> u64 {
    let which = usize::from(heap) % process.targets.heaps.len().max(1);
    let path = process.targets.heaps.get(which);
    match path.is_some_and(|path| path.starts_with(WITH_UNCACHED)) {
        true => UNCACHED,
        false => 0,
    }
}

/// Returns the error that the kernel must return for a request to a heap that supports
/// `known_heap_flags`, apart from errors that depend on the state of the system.
fn expected(
    request: &Request,
    pointer: Pointer,
    data: &AllocationData,
    known_heap_flags: u64,
) -> Option<Errno> {
    if request.number != 0 {
        return Some(Errno::EINVAL);
    }
    let reads = matches!(request.direction, Direction::Write | Direction::ReadWrite);
    if reads && request.size > 0 && !pointer.can_be_read() {
        return Some(Errno::EFAULT);
    }
    // Bytes that are not passed are zero.
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
    if fd != 0 || fd_flags & !known != 0 || heap_flags & !known_heap_flags != 0 {
        return Some(Errno::EINVAL);
    }
    match len.checked_next_multiple_of(page_size() as u64) {
        None | Some(0) => return Some(Errno::EINVAL),
        Some(_) => {}
    }
    let returns = matches!(request.direction, Direction::Read | Direction::ReadWrite);
    (returns && request.size > 0 && !pointer.can_be_written()).then_some(Errno::EFAULT)
}

/// Returns the length to allocate. A length that exceeds the quota of the process, but not the
/// memory of the machine, is reduced.
pub fn bounded_length(process: &mut Process, length: Length) -> Result<u64> {
    let len = length.bytes();
    let (quota, page) = (process.quota as u64 / 2, page_size() as u64);
    if len > quota && len <= memory::total()? as u64 {
        return Ok(len % (quota - page) + 1);
    }
    Ok(len)
}

/// Allocates a buffer and checks the result, the descriptor, and the contents of the buffer.
pub fn allocate(
    process: &mut Process,
    heap: u8,
    data: AllocationData,
    request: Request,
    pointer: Pointer,
) -> Result<Outcome> {
    let heap_flags = heap_flags_of(process, heap);
    let heap = match open_heap(process, heap) {
        Ok(heap) => heap,
        Err(errno) => return Ok(Outcome::Failed(errno)),
    };
    let path = nix::fcntl::OFlag::from_bits_retain(nix::fcntl::fcntl(
        &heap,
        nix::fcntl::FcntlArg::F_GETFL,
    )?);
    let size = usize::try_from(data.len).unwrap_or(usize::MAX);
    if size <= process.quota {
        process.reserve_quota(size + page_size());
    }
    let Some(next) = process.next_descriptor() else {
        return Ok(Outcome::Failed(Errno::EMFILE));
    };
    let result = process.arguments.ioctl(
        heap.as_fd(),
        request.code(),
        pointer,
        &data.to_bytes(),
        request.size,
    )?;
    let expected_errno = match path.contains(nix::fcntl::OFlag::O_PATH) {
        true => Some(Errno::EBADF),
        false => expected(&request, pointer, &data, heap_flags),
    };
    match (result, expected_errno) {
        (Ok(_), None) => {}
        (Ok(_), Some(errno)) => anyhow::bail!("allocation succeeded, expected {errno:?}"),
        (Err(errno), expected_errno) => {
            ensure!(
                process.next_descriptor() == Some(next),
                "failed with {errno:?}, but descriptor {next} was installed"
            );
            // The allocation may fail before the kernel detects the last error.
            let early = matches!(errno, Errno::ENOMEM | Errno::EINTR)
                && expected_errno == Some(Errno::EFAULT);
            ensure!(
                expected_errno.is_none_or(|expected_errno| expected_errno == errno || early),
                "failed with {errno:?}, expected {expected_errno:?}"
            );
            return Ok(Outcome::Failed(errno));
        }
    }
    let whole = size_of::<AllocationData>();
    if request.direction == Direction::ReadWrite && request.size >= whole {
        let returned = process.arguments.read(pointer, 8, 4);
        ensure!(
            returned == (next as u32).to_ne_bytes(),
            "the kernel returned descriptor {returned:?}, expected {next}"
        );
    }
    // SAFETY: The call has installed this descriptor, which was the lowest free one. This process
    // is single-threaded.
    let fd = unsafe { OwnedFd::from_raw_fd(next) };
    let len = match request.size {
        0..8 => return Ok(Outcome::Done),
        _ => data.len,
    };
    let flags = match request.size {
        16.. => data.fd_flags as i32,
        _ => 0,
    };
    let on_exec = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD)?;
    ensure!(
        (on_exec & libc::FD_CLOEXEC != 0) == (flags & libc::O_CLOEXEC != 0),
        "the descriptor's flags are {on_exec:#x}, requested {flags:#x}"
    );
    match flags & libc::O_ACCMODE {
        // The buffer is neither readable nor writable.
        libc::O_ACCMODE => drop(fd),
        access => process.add_new_buffer(fd, len, access)?,
    }
    Ok(Outcome::Done)
}
