// SPDX-License-Identifier: GPL-2.0

//! Mappings whose protection changes, and private mappings, which are refused.

use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::{
    expect_errno,
    heap::{
        self,
        AllocationData,
        Heap, //
    },
    page_size,
    pattern::Pattern, //
};
use nix::{
    errno::Errno,
    sys::mman::{
        MapFlags,
        ProtFlags, //
    }, //
};

pub const CASES: &[Case] = &[
    Case::new("first-protection", first_protection),
    Case::new("no-access-in-between", no_access_in_between),
    Case::new("private-is-refused", private_is_refused),
];

const NONE: ProtFlags = ProtFlags::PROT_NONE;
const READ: ProtFlags = ProtFlags::PROT_READ;
const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Sizes in pages: a single page, a middle run, a large run, and a buffer of several runs.
const SIZES: [usize; 5] = [1, 16, 256, 512, 512 + 256 + 16 + 3];

/// A mapping shows the buffer after `mprotect()`, whatever its first protection was.
fn first_protection(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for pages in SIZES {
        let size = pages * page_size();
        let buffer = heap.allocate(size)?;
        let whole = buffer.map()?;
        whole.fill(Pattern(41), 0);
        for first in [NONE, READ, ProtFlags::PROT_WRITE, READ_WRITE] {
            for second in [READ, READ_WRITE] {
                let what = || format!("{pages} pages, first {first:?}, then {second:?}");
                let mapping = buffer.map_with(0, size, first, MapFlags::MAP_SHARED)?;
                mapping.protect(second)?;
                mapping.check(Pattern(41), 0).with_context(what)?;
                if second == READ_WRITE {
                    mapping.fill(Pattern(42), 0);
                    whole.check(Pattern(42), 0).with_context(what)?;
                    whole.fill(Pattern(41), 0);
                    mapping.check(Pattern(41), 0).with_context(what)?;
                }
            }
        }
    }
    Ok(())
}

/// A part without access in between does not lose the buffer's pages.
fn no_access_in_between(heap: &str) -> Result<()> {
    let pages = 512 + 16 + 3;
    let (page, size) = (page_size(), pages * page_size());
    let buffer = Heap::open(heap)?.allocate(size)?;
    let mapping = buffer.map()?;
    mapping.fill(Pattern(43), 0);
    for (first, count) in [(0, 1), (3, 20), (500, 20), (0, pages)] {
        mapping.protect_range(first * page, count * page, NONE)?;
        mapping.protect_range(first * page, count * page, READ_WRITE)?;
        mapping.check(Pattern(43), 0)?;
    }
    mapping.fill(Pattern(44), 0);
    buffer.map()?.check(Pattern(44), 0)
}

/// The module's heaps refuse private mappings, whatever their protection and the buffer's flags.
fn private_is_refused(heap: &str) -> Result<()> {
    let own = heap::is_own(heap)?;
    let opened = Heap::open(heap)?;
    for pages in SIZES {
        let size = pages * page_size();
        for fd_flags in [libc::O_RDWR, libc::O_RDONLY] {
            let buffer = opened.allocate_with(&AllocationData {
                fd_flags: fd_flags as u32,
                ..AllocationData::read_write(size as u64)
            })?;
            for protection in [NONE, READ, READ_WRITE] {
                let what = format!("a private mapping of {pages} pages, {protection:?}");
                let answer = buffer.map_with(0, size, protection, MapFlags::MAP_PRIVATE);
                if own {
                    expect_errno(what, answer, Errno::EINVAL)?;
                } else {
                    // The kernel's own `system` heap maps what lies in one piece.
                    ensure!(
                        answer.is_ok() || answer.err() == Some(Errno::EINVAL),
                        "{what}"
                    );
                }
            }
        }
    }
    Ok(())
}
