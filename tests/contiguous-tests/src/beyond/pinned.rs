// SPDX-License-Identifier: GPL-2.0

//! Pages that cannot be moved, because pipes hold them or a device may access them.

use super::{
    allocate,
    limit_beyond,
    of_areas,
    FRAME,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::page_size;
use guest_support::udmabuf;
use nix::errno::Errno;
use nix::fcntl::{
    fallocate,
    FallocateFlags, //
};
use std::os::fd::{
    AsRawFd,
    OwnedFd, //
};
use std::os::unix::fs::FileExt;
use std::time::{
    Duration,
    Instant, //
};

/// Holds pages of this process in pipes.
fn pin(mapping: &Mapping, offsets: impl Iterator<Item = usize>) -> Result<Vec<(OwnedFd, OwnedFd)>> {
    let mut pipes: Vec<(OwnedFd, OwnedFd)> = Vec::new();
    for (number, offset) in offsets.enumerate() {
        if number % 256 == 0 {
            let (reader, writer) = nix::unistd::pipe()?;
            // SAFETY: The call has integer arguments.
            unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 256 * page_size()) };
            pipes.push((reader, writer));
        }
        let page = libc::iovec {
            iov_base: (mapping.address() + offset) as *mut libc::c_void,
            iov_len: page_size(),
        };
        let (_, writer) = pipes.last().context("no pipe")?;
        // SAFETY: The range is in the mapping.
        let answer =
            unsafe { libc::vmsplice(writer.as_raw_fd(), &page, 1, libc::SPLICE_F_NONBLOCK) };
        Errno::result(answer).context("vmsplice")?;
    }
    Ok(pipes)
}

/// The distance of pages that are held.
const STEP: usize = MIB / 8;

/// Lets a request of each size succeed or fail soon, while `count` pages are held that were in the
/// way of all larger ranges when all but `left` bytes were in use. The largest request fails.
fn request_between(count: usize, left: usize) -> Result<()> {
    let heap = Heap::open("cma")?;
    let attempt = |size: usize| -> Result<nix::Result<Buffer>> {
        let start = Instant::now();
        let buffer = allocate(&heap, size);
        let time = start.elapsed();
        let answer = buffer.as_ref().map(|_| "allocated");
        diagnose(&format!(
            "{} KiB with {count} pages held: {answer:?} after {time:?}",
            size >> 10
        ));
        let limit = Duration::from_secs(10) * guest_support::checkers::timeout_factor();
        ensure!(time < limit, "{size} bytes: {time:?}");
        Ok(buffer)
    };
    let mut got = Vec::new();
    for size in [64 << 10, MIB, FRAME, of_areas()?.max(FRAME) + MIB] {
        got.extend(attempt(size)?);
    }
    drop(got);
    // More than what is left without held pages.
    let size = (limit_beyond()? / 4 * 3).next_multiple_of(page_size());
    ensure!(size > 2 * left, "{size} bytes");
    expect_errno("between held pages", attempt(size)?, Errno::ENOMEM)
}

// A process holds a page in each 128 KiB of what it has, and has freed the others. A request fails
// or succeeds soon, and the held pages keep their content.
pub fn pinned() -> Result<()> {
    let mapping = Mapping::anonymous(memory::total()?)?;
    mapping.in_single_pages()?;
    let left = memory::total()? / 12;
    let mut end = 0;
    while memory::meminfo("MemFree")? > left {
        for offset in (end..end + MIB).step_by(page_size()) {
            mapping.write(offset, offset as u64 + 1);
        }
        end += MIB;
    }
    let held = || (0..end).step_by(STEP);
    let pipes = pin(&mapping, held())?;
    for offset in held() {
        // SAFETY: Frees pages of the mapping that nobody holds.
        unsafe {
            let start = (mapping.address() + offset + page_size()) as *mut libc::c_void;
            libc::madvise(start, STEP - page_size(), libc::MADV_DONTNEED);
        }
    }
    request_between(held().count(), left)?;
    for offset in held() {
        ensure!(mapping.read(offset) == offset as u64 + 1, "{offset:#x}");
    }
    drop(pipes);
    Ok(())
}

// So it is with pages that are pinned for a device for a long time.
pub fn pinned_for_device() -> Result<()> {
    let file = udmabuf::memory(memory::total()?)?;
    let left = memory::total()? / 12;
    let content = |offset: usize| vec![(offset / STEP) as u8; page_size()];
    let mut end = 0;
    while memory::meminfo("MemFree")? > left {
        for offset in (end..end + MIB).step_by(page_size()) {
            file.write_all_at(&content(offset), offset as u64)?;
        }
        end += MIB;
    }
    let held: Vec<_> = (0..end).step_by(STEP).collect();
    let pieces = held.chunks(udmabuf::MAX_PIECES);
    let pins: Vec<Buffer> = pieces
        .map(|offsets| udmabuf::of_pages(&file, offsets))
        .collect::<Result<_>>()?;
    for offset in &held {
        let (start, len) = (offset + page_size(), STEP - page_size());
        fallocate(
            &file,
            FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
            start as libc::off_t,
            len as libc::off_t,
        )?;
    }
    request_between(held.len(), left)?;
    let mut found = vec![0; page_size()];
    for (pin, offsets) in pins.iter().zip(held.chunks(udmabuf::MAX_PIECES)) {
        let view = pin.map()?;
        for (index, offset) in offsets.iter().enumerate() {
            file.read_exact_at(&mut found, *offset as u64)?;
            ensure!(found == content(*offset), "{offset:#x} of the file");
            let word = view.read(index * page_size());
            ensure!(
                word.to_ne_bytes() == found[..8],
                "{offset:#x} of the buffer"
            );
        }
    }
    Ok(())
}
