// SPDX-License-Identifier: GPL-2.0

//! Mappings at addresses that allow huge page table entries. They behave like any other mapping,
//! also when they are split, moved, or partly read-only.

use crate::Case;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::mapping::{
    Mapping,
    WORD, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    Verdict,
    CHILD_TIMEOUT, //
};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use nix::sys::signal::Signal;
use std::io::{
    Read,
    Write, //
};
use std::os::fd::AsFd;

pub const CASES: &[Case] = &[
    Case::new("huge-whole", whole),
    Case::new("huge-parts", parts),
    Case::new("huge-unmap-in-pieces", unmap_in_pieces),
    Case::new("huge-protect", protect),
    Case::new("huge-moved", moved),
    Case::new("huge-inherited", inherited),
    Case::new("huge-refused-by-process", refused_by_process),
    Case::new("huge-as-system-call-argument", as_system_call_argument),
];

/// Size of a PMD entry on a machine with 4 KiB pages. With larger pages all mappings here are
/// ordinary ones.
const HUGE: usize = 2 << 20;

/// Two such ranges, and some smaller runs.
const PAGES: usize = 2 * 512 + 256 + 16 + 3;

/// Returns a buffer of that many pages, filled through an unaligned mapping, which takes no page
/// faults.
fn filled(heap: &str) -> Result<(Buffer, Pattern)> {
    let buffer = Heap::open(heap)?.allocate(PAGES * page_size())?;
    let pattern = Pattern(7);
    buffer.map_range(0, buffer.size()?)?.fill(pattern, 0);
    Ok((buffer, pattern))
}

fn aligned(buffer: &Buffer, offset: usize, len: usize, skew: usize) -> Result<Mapping> {
    Ok(Mapping::aligned(
        buffer.as_fd(),
        offset as u64,
        len,
        HUGE,
        skew,
    )?)
}

fn check_pages(mapping: &Mapping, pattern: Pattern, base: usize) -> Result<()> {
    let page = page_size();
    for offset in (0..mapping.len()).step_by(page) {
        mapping.check_range(offset, WORD, pattern, base)?;
        mapping.check_range(offset + page - WORD, WORD, pattern, base)?;
    }
    Ok(())
}

// Read first, written first, and accessed from the end.
fn whole(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let size = buffer.size()?;
    aligned(&buffer, 0, size, 0)?.check(pattern, 0)?;
    let written = aligned(&buffer, 0, size, 0)?;
    let read = aligned(&buffer, 0, size, 0)?;
    for offset in (0..size).step_by(WORD).rev() {
        written.write(offset, Pattern(8).word(offset));
    }
    read.check(Pattern(8), 0)?;
    buffer.map()?.check(Pattern(8), 0)
}

// Any page of the buffer at any offset within a huge entry.
fn parts(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let (page, size) = (page_size(), buffer.size()?);
    for first in [0, 1, 255, 256, 511, 512, 513, 1023, 1024, 1025, PAGES - 1] {
        let offset = first * page;
        for skew in [0, page, offset % HUGE, HUGE - page] {
            let mapping = aligned(&buffer, offset, size - offset, skew)?;
            check_pages(&mapping, pattern, offset)?;
        }
    }
    Ok(())
}

fn expect_segfault(mapping: &Mapping, access: impl FnOnce(&Mapping)) -> Result<()> {
    let mut child = Child::run(|| {
        access(mapping);
        Ok(())
    })?;
    let verdict = child.wait(CHILD_TIMEOUT)?;
    ensure!(
        verdict == Some(Verdict::Killed(Signal::SIGSEGV)),
        "an access that must not be allowed: {verdict:?}"
    );
    Ok(())
}

fn unmap_in_pieces(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let page = page_size();
    for touched in [true, false] {
        let mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
        if touched {
            mapping.check(pattern, 0)?;
        }
        mapping.unmap_range(100 * page, 3 * page)?;
        mapping.unmap_range(510 * page, 5 * page)?;
        for number in (0..PAGES).filter(|n| !(100..103).contains(n) && !(510..515).contains(n)) {
            mapping.check_range(number * page, WORD, pattern, 0)?;
        }
        expect_segfault(&mapping, |mapping| {
            mapping.read(101 * page);
        })?;
    }
    Ok(())
}

fn protect(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let page = page_size();
    for touched in [true, false] {
        let mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
        if touched {
            mapping.check(pattern, 0)?;
        }
        mapping.protect_range(100 * page, page, ProtFlags::PROT_READ)?;
        mapping.check(pattern, 0)?;
        mapping.write(99 * page, pattern.word(99 * page));
        mapping.write(101 * page, pattern.word(101 * page));
        expect_segfault(&mapping, |mapping| mapping.write(100 * page, 0))?;
        mapping.protect_range(
            100 * page,
            page,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        )?;
        mapping.write(100 * page, pattern.word(100 * page));
        mapping.check(pattern, 0)?;
    }
    Ok(())
}

// From an address that allows huge entries to one that does not, and back.
fn moved(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let page = page_size();
    for touched in [true, false] {
        let mut mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
        if touched {
            mapping.check(pattern, 0)?;
        }
        for skew in [page, 0, HUGE - page] {
            mapping.move_to(HUGE, skew)?;
            mapping.check(pattern, 0)?;
            mapping.write(600 * page, 1);
            buffer.map()?.write(600 * page, pattern.word(600 * page));
        }
    }
    Ok(())
}

fn inherited(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let page = page_size();
    for touched in [true, false] {
        let mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
        if touched {
            mapping.check(pattern, 0)?;
        }
        let mut child = Child::run(|| {
            mapping.check(pattern, 0)?;
            mapping.write(700 * page, 4711);
            Ok(())
        })?;
        let verdict = child.wait(CHILD_TIMEOUT)?;
        ensure!(verdict == Some(Verdict::Passed), "the child: {verdict:?}");
        ensure!(mapping.read(700 * page) == 4711);
        mapping.write(700 * page, pattern.word(700 * page));
    }
    Ok(())
}

// Uses entries for single pages.
fn refused_by_process(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let mut child = Child::run(|| {
        // SAFETY: Disables transparent huge pages for this process.
        let answer = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        // A kernel without transparent huge pages does not support this call.
        ensure!(answer == 0 || Errno::last() == Errno::EINVAL);
        let mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
        mapping.check(pattern, 0)?;
        mapping.fill(Pattern(9), 0);
        Ok(())
    })?;
    let verdict = child.wait(CHILD_TIMEOUT)?;
    ensure!(verdict == Some(Verdict::Passed), "the child: {verdict:?}");
    buffer.map()?.check(Pattern(9), 0)
}

// The kernel accesses the mapping first.
fn as_system_call_argument(heap: &str) -> Result<()> {
    let (buffer, pattern) = filled(heap)?;
    let page = page_size();
    let (receiver, sender) = nix::unistd::pipe()?;
    let (mut receiver, mut sender) = (std::fs::File::from(receiver), std::fs::File::from(sender));
    let mapping = aligned(&buffer, 0, buffer.size()?, 0)?;
    let at = |offset: usize| {
        // SAFETY: No other code accesses the buffer during this; the bytes are in the mapping.
        unsafe { std::slice::from_raw_parts_mut((mapping.address() + offset) as *mut u8, 2 * page) }
    };
    sender.write_all(at(511 * page))?;
    receiver.read_exact(at(511 * page))?;
    sender.write_all(at(1023 * page))?;
    receiver.read_exact(at(1023 * page))?;
    mapping.check(pattern, 0)
}
