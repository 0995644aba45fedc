// SPDX-License-Identifier: GPL-2.0

//! User mappings of a buffer: all of its parts, and nothing outside of it.

use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::{
    self,
    Buffer, //
};
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::mapping::{
    Mapping,
    WORD, //
};
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    Verdict,
    CHILD_TIMEOUT, //
};
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::mman::{
    MRemapFlags,
    MapFlags,
    ProtFlags, //
};
use nix::sys::signal::Signal;
use std::io::{
    Read,
    Write, //
};

pub const CASES: &[Case] = &[
    Case::new("every-offset", every_offset),
    Case::new("every-length", every_length),
    Case::new("outside", outside),
    Case::new("no-length-odd-offset", no_length_odd_offset),
    Case::new(
        "mappings-show-the-same-memory",
        mappings_show_the_same_memory,
    ),
    Case::new("outlives-descriptors", outlives_descriptors),
    Case::new("unmap-in-pieces", unmap_in_pieces),
    Case::new("protect", protect),
    Case::new("protect-read-only-buffer", protect_read_only_buffer),
    Case::new("remap", remap),
    Case::new("as-system-call-argument", as_system_call_argument),
    Case::new("many-mappings", many_mappings),
];

const SHARED: MapFlags = MapFlags::MAP_SHARED;
const READ: ProtFlags = ProtFlags::PROT_READ;
const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Number of pages of a buffer with runs of large, middle and single pages.
const MIXED_PAGES: usize = 256 + 16 + 3;

/// Returns such a buffer, its size, and the pattern with which it is filled.
fn mixed(heap: &str) -> Result<(Buffer, usize, Pattern)> {
    let (size, pattern) = (MIXED_PAGES * page_size(), Pattern(3));
    let buffer = Heap::open(heap)?.allocate(size)?;
    buffer.map()?.fill(pattern, 0);
    Ok((buffer, size, pattern))
}

/// Checks the first and the last word of every page. Does not write.
fn check_pages(mapping: &Mapping, pattern: Pattern, base: usize) -> Result<()> {
    let page = page_size();
    for offset in (0..mapping.len()).step_by(page) {
        mapping.check_range(offset, WORD, pattern, base)?;
        mapping.check_range(offset + page - WORD, WORD, pattern, base)?;
    }
    Ok(())
}

fn every_offset(heap: &str) -> Result<()> {
    let (buffer, size, pattern) = mixed(heap)?;
    let page = page_size();
    for offset in (0..size).step_by(page) {
        // Up to the end, and one page alone.
        for len in [size - offset, page] {
            let mapping = buffer
                .map_range(offset, len)
                .with_context(|| format!("{len:#x} bytes from {offset:#x}"))?;
            check_pages(&mapping, pattern, offset)?;
        }
        buffer.map_range(offset, page)?.check(pattern, offset)?;
    }
    // Written through partial mappings, read through a full one.
    let whole = buffer.map()?;
    for offset in (0..size).step_by(page) {
        buffer.map_range(offset, page)?.fill(Pattern(99), offset);
    }
    whole.check(Pattern(99), 0)
}

fn every_length(heap: &str) -> Result<()> {
    let (buffer, size, pattern) = mixed(heap)?;
    let page = page_size();
    // Around the boundaries of runs, and within runs.
    for first in [0, 1, 100, 255, 256, 257, 271, 272, 274] {
        let offset = first * page;
        for len in (page..=size - offset)
            .step_by(7 * page)
            .chain([size - offset])
        {
            let mapping = buffer.map_range(offset, len)?;
            check_pages(&mapping, pattern, offset)?;
        }
    }
    // A length is rounded up to whole pages.
    let mapping = buffer.map_range(0, size - page + 1)?;
    mapping.check_range(0, WORD, pattern, 0)?;
    Ok(())
}

fn outside(heap: &str) -> Result<()> {
    let (buffer, size, _) = mixed(heap)?;
    let page = page_size();
    for (offset, len) in [
        (0, size + 1),
        (0, size + page),
        (0, 2 * size),
        (page, size),
        (size - page, 2 * page),
        (size - page, page + 1),
        (size, 1),
        (size, page),
        (size + page, page),
        (2 * size, page),
        (1 << 30, page),
    ] {
        let what = format!("{len:#x} bytes from {offset:#x} of {size:#x}");
        expect_errno(what, buffer.map_range(offset, len), Errno::EINVAL)?;
        let private = buffer.map_with(offset as u64, len, READ, MapFlags::MAP_PRIVATE);
        expect_errno("the same, private", private, Errno::EINVAL)?;
    }
    if cfg!(target_pointer_width = "64") {
        let answer = buffer.map_with(1 << 62, page, READ_WRITE, SHARED);
        expect_errno("a very large offset", answer, Errno::EINVAL)?;
    }
    Ok(())
}

fn no_length_odd_offset(heap: &str) -> Result<()> {
    let (buffer, size, _) = mixed(heap)?;
    expect_errno("length 0", buffer.map_range(0, 0), Errno::EINVAL)?;
    for offset in [1, WORD, page_size() - 1, page_size() + 1, size - 1] {
        let what = format!("offset {offset:#x}");
        expect_errno(what, buffer.map_range(offset, page_size()), Errno::EINVAL)?;
    }
    Ok(())
}

fn mappings_show_the_same_memory(heap: &str) -> Result<()> {
    let (buffer, size, _) = mixed(heap)?;
    let (one, other) = (buffer.map()?, buffer.map()?);
    ensure!(one.address() != other.address());
    one.fill(Pattern(11), 0);
    other.check(Pattern(11), 0)?;
    other.fill(Pattern(12), 0);
    one.check(Pattern(12), 0)?;
    let half = (MIXED_PAGES / 2) * page_size();
    let part = buffer.map_range(half, size - half)?;
    part.fill(Pattern(13), half);
    one.check_range(half, size - half, Pattern(13), 0)?;
    one.check_range(0, half, Pattern(12), 0)
}

fn outlives_descriptors(heap: &str) -> Result<()> {
    let size = MIXED_PAGES * page_size();
    let opened = Heap::open(heap)?;
    let buffer = opened.allocate(size)?;
    drop(opened);
    let (one, other) = (buffer.map()?, buffer.map()?);
    let before = dma_buf::totals()?;
    drop(buffer);
    one.fill(Pattern(5), 0);
    other.check(Pattern(5), 0)?;
    drop(one);
    ensure!(
        dma_buf::totals()? == before,
        "released while it is still mapped"
    );
    other.check(Pattern(5), 0)
    // Every test ends with a check that all buffers are released.
}

fn unmap_in_pieces(heap: &str) -> Result<()> {
    let (buffer, size, pattern) = mixed(heap)?;
    let page = page_size();
    let mapping = buffer.map()?;
    drop(buffer);
    // In the middle of the large run, across a boundary of runs, and at both ends.
    let removed = [(100, 3), (250, 10), (0, 1), (MIXED_PAGES - 1, 1)];
    for (first, count) in removed {
        mapping.unmap_range(first * page, count * page)?;
    }
    for number in 0..size / page {
        let gone = |(first, count): &(usize, usize)| (*first..first + count).contains(&number);
        if !removed.iter().any(gone) {
            mapping.check_range(number * page, page, pattern, 0)?;
        }
    }
    // The removed pages are not accessible.
    let mut child = Child::run(|| {
        mapping.read(101 * page);
        Ok(())
    })?;
    let verdict = child.wait(CHILD_TIMEOUT)?;
    ensure!(
        verdict == Some(Verdict::Killed(Signal::SIGSEGV)),
        "reading an unmapped page: {verdict:?}"
    );
    Ok(())
}

fn protect(heap: &str) -> Result<()> {
    let (buffer, _, pattern) = mixed(heap)?;
    let page = page_size();
    let mapping = buffer.map_with(0, MIXED_PAGES * page, READ, SHARED)?;
    check_pages(&mapping, pattern, 0)?;
    let write_dies = |offset: usize| -> Result<()> {
        let mut child = Child::run(|| {
            mapping.write(offset, 0);
            Ok(())
        })?;
        let verdict = child.wait(CHILD_TIMEOUT)?;
        ensure!(
            verdict == Some(Verdict::Killed(Signal::SIGSEGV)),
            "writing at {offset:#x}, which is read-only: {verdict:?}"
        );
        Ok(())
    };
    write_dies(0)?;
    mapping.protect(READ_WRITE)?;
    mapping.fill(Pattern(21), 0);
    // One page of the large run becomes read-only again; its neighbours stay writable.
    mapping.protect_range(100 * page, page, READ)?;
    mapping.write(99 * page, Pattern(21).word(99 * page));
    mapping.write(101 * page, Pattern(21).word(101 * page));
    write_dies(100 * page)?;
    mapping.check(Pattern(21), 0)
}

fn protect_read_only_buffer(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate_with(&AllocationData {
        fd_flags: libc::O_RDONLY as u32,
        ..AllocationData::read_write(1)
    })?;
    let mapping = buffer.map_with(0, page_size(), READ, SHARED)?;
    mapping.check_zero()?;
    expect_errno(
        "mprotect to writable",
        mapping.protect(READ_WRITE),
        Errno::EACCES,
    )
}

fn remap(heap: &str) -> Result<()> {
    let (buffer, size, pattern) = mixed(heap)?;
    let page = page_size();
    let mut mapping = buffer.map_range(0, 20 * page)?;
    mapping.resize(10 * page, MRemapFlags::empty())?;
    check_pages(&mapping, pattern, 0)?;
    // Growing would map pages without a check that they are in the buffer.
    for len in [11 * page, 20 * page, size, size + page] {
        let answer = mapping.resize(len, MRemapFlags::MREMAP_MAYMOVE);
        expect_errno(format!("growing to {len:#x}"), answer, Errno::EFAULT)?;
    }
    check_pages(&mapping, pattern, 0)
}

// The kernel itself accesses such memory when a system call points to it.
fn as_system_call_argument(heap: &str) -> Result<()> {
    let (buffer, _, _) = mixed(heap)?;
    let mapping = buffer.map()?;
    let page = page_size();
    let (receiver, sender) = nix::unistd::pipe()?;
    let (mut receiver, mut sender) = (std::fs::File::from(receiver), std::fs::File::from(sender));
    // Across a boundary of runs.
    let (start, len) = (255 * page, 2 * page);
    mapping.fill(Pattern(41), 0);
    // SAFETY: No other code accesses the buffer during this; the bytes are in the mapping.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut((mapping.address() + start) as *mut u8, len) };
    sender.write_all(bytes)?;
    bytes.fill(0);
    receiver.read_exact(bytes)?;
    mapping.check(Pattern(41), 0)
}

fn many_mappings(heap: &str) -> Result<()> {
    let (buffer, _, pattern) = mixed(heap)?;
    let mappings: Vec<Mapping> = (0..200).map(|_| buffer.map()).collect::<Result<_>>()?;
    drop(buffer);
    for mapping in mappings.iter().step_by(20) {
        check_pages(mapping, pattern, 0)?;
    }
    Ok(())
}
