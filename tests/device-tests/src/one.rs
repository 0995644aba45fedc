// SPDX-License-Identifier: GPL-2.0

//! A device and the CPU.

use crate::{
    cpu,
    Body,
    Case,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::Direction;
use guest_support::dma_buf::Buffer;
use guest_support::edu::{
    Device,
    Import, //
};
use guest_support::heap::Heap;
use guest_support::mapping::WORD;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use std::ops::Range;

pub const CASES: &[(&str, Body)] = &[
    ("to-device", to_device),
    ("from-device", from_device),
    ("both", both),
    ("device-first", device_first),
    ("beside-mmap", beside_mmap),
    ("parts", parts),
];

/// The sizes of buffers.
pub const SIZES: [usize; 9] = [1, 7, 64, 4095, 4096, 4097, 65536 + 3, MIB, 4 * MIB];

/// Some of them, for tests of what does not depend on the size.
const FEW_SIZES: [usize; 3] = [7, 4097, 65536 + 3];

fn first(devices: &[Device]) -> Result<&Device> {
    devices.first().context("the driver has no device")
}

/// Calls `body` with a buffer of each size and the first device, to which it is attached.
fn each(
    case: &Case,
    sizes: &[usize],
    body: impl Fn(&Buffer, &Import<'_>, usize) -> Result<()>,
) -> Result<()> {
    let devices = case.devices()?;
    let heap = Heap::open(&case.heap)?;
    for &size in sizes {
        let context = || format!("{size} bytes");
        let buffer = heap.allocate(size)?;
        let import = first(&devices)?.attach(&buffer).with_context(context)?;
        body(&buffer, &import, size).with_context(context)?;
    }
    Ok(())
}

/// Returns what the device accesses of a buffer: all of a small one; of a larger one its beginning,
/// its end, and where an entry of the scatter list ends, which has 64 KiB at most. All of it would
/// take minutes.
pub fn pieces(size: usize) -> Vec<Range<usize>> {
    const PIECE: usize = 64;
    const ENTRY: usize = 64 << 10;
    let mut pieces = Vec::new();
    if size <= 2 * page_size() {
        pieces.push(0..size);
        return pieces;
    }
    let last = (size - 4096) - size % WORD;
    pieces.push(0..PIECE);
    if last > ENTRY + PIECE {
        pieces.push(ENTRY - PIECE / 2..ENTRY + PIECE / 2);
    }
    pieces.push(last..size);
    pieces
}

/// Checks that the device reads a pattern.
pub fn device_reads(import: &Import<'_>, size: usize, pattern: Pattern) -> Result<()> {
    for Range { start, end } in pieces(size) {
        let found = import
            .read(start, end - start)
            .context("the device cannot read")?;
        let expected = cpu::bytes(pattern, start, end - start);
        cpu::compare("what the device reads", &found, &expected)
            .with_context(|| format!("from byte {start:#x} on"))?;
    }
    Ok(())
}

/// Lets the device write a pattern.
pub fn device_writes(import: &Import<'_>, size: usize, pattern: Pattern) -> Result<()> {
    for Range { start, end } in pieces(size) {
        import
            .write(start, &cpu::bytes(pattern, start, end - start))
            .context("the device cannot write")?;
    }
    Ok(())
}

fn to_device(case: &Case) -> Result<()> {
    each(case, &SIZES, |buffer, import, size| {
        let mapping = buffer.map()?;
        cpu::fill(buffer, &mapping, Pattern(1))?;
        import.map(Direction::ToDevice)?;
        device_reads(import, size, Pattern(1))?;
        import.unmap()?;
        cpu::check(
            buffer,
            &mapping,
            &pieces(size),
            Pattern(1),
            Some(Pattern(1)),
        )
    })
}

fn from_device(case: &Case) -> Result<()> {
    each(case, &SIZES, |buffer, import, size| {
        let mapping = buffer.map()?;
        cpu::fill(buffer, &mapping, Pattern(2))?;
        import.map(Direction::FromDevice)?;
        device_writes(import, size, Pattern(3))?;
        import.unmap()?;
        cpu::check(
            buffer,
            &mapping,
            &pieces(size),
            Pattern(3),
            Some(Pattern(2)),
        )
    })
}

/// The buffer stays mapped, and the two take turns.
fn both(case: &Case) -> Result<()> {
    each(case, &SIZES, |buffer, import, size| {
        let mapping = buffer.map()?;
        import.map(Direction::Both)?;
        cpu::fill(buffer, &mapping, Pattern(4))?;
        device_reads(import, size, Pattern(4))?;
        device_writes(import, size, Pattern(5))?;
        cpu::check(
            buffer,
            &mapping,
            &pieces(size),
            Pattern(5),
            Some(Pattern(4)),
        )?;
        import.unmap().context("the buffer cannot be unmapped")
    })
}

/// The CPU maps the buffer when the device has written it. What the device leaves out is zero.
fn device_first(case: &Case) -> Result<()> {
    each(case, &FEW_SIZES, |buffer, import, size| {
        import.map(Direction::FromDevice)?;
        device_writes(import, size, Pattern(7))?;
        import.unmap()?;
        cpu::check(buffer, &buffer.map()?, &pieces(size), Pattern(7), None)
    })?;
    each(case, &FEW_SIZES, |buffer, import, size| {
        import.map(Direction::Both)?;
        device_writes(import, size, Pattern(8))?;
        cpu::check(buffer, &buffer.map()?, &pieces(size), Pattern(8), None)
    })
}

/// The CPU has read the memory by a mapping before the device writes it.
fn beside_mmap(case: &Case) -> Result<()> {
    each(case, &FEW_SIZES, |buffer, import, size| {
        let mapping = buffer.map()?;
        cpu::check(buffer, &mapping, &[], Pattern(0), None)?;
        import.map(Direction::FromDevice)?;
        device_writes(import, size, Pattern(9))?;
        cpu::check(buffer, &mapping, &pieces(size), Pattern(9), None)?;
        device_writes(import, size, Pattern(10))?;
        import.unmap()?;
        cpu::check(buffer, &mapping, &pieces(size), Pattern(10), None)
    })
}

/// The device accesses parts of the buffer that begin and end anywhere.
fn parts(case: &Case) -> Result<()> {
    const SIZE: usize = 300 << 10;
    each(case, &[SIZE], |buffer, import, _| {
        let mapping = buffer.map()?;
        cpu::fill(buffer, &mapping, Pattern(11))?;
        import.map(Direction::Both)?;
        let mut expected = cpu::bytes(Pattern(11), 0, SIZE);
        for (offset, length) in [
            (1, 4096),
            (4095, 2),
            (65_535, 8195),
            (131_071, 3),
            (SIZE - 4097, 4097),
        ] {
            let written = cpu::bytes(Pattern(offset as u64), 0, length);
            import.write(offset, &written)?;
            expected[offset..offset + length].copy_from_slice(&written);
            let (from, to) = (offset - 1, (offset + length + 1).min(SIZE));
            cpu::compare(
                "what the device reads around it",
                &import.read(from, to - from)?,
                &expected[from..to],
            )?;
        }
        let found = buffer.with_cpu_access(|| mapping.copy_out(0, SIZE))?;
        cpu::compare("what the CPU reads", &found, &expected)
    })
}

/// Returns whether the device reads at once what the CPU writes without a sync.
fn is_direct(case: &Case) -> Result<bool> {
    let devices = case.devices()?;
    let buffer = Heap::open(&case.heap)?.allocate(MIB)?;
    let mapping = buffer.map()?;
    cpu::fill(&buffer, &mapping, Pattern(12))?;
    let import = first(&devices)?.attach(&buffer)?;
    import.map(Direction::Both)?;
    let last = MIB - page_size();
    mapping.write(last, Pattern(13).word(last));
    let found = import.read(last, 8)?;
    ensure!(
        [Pattern(12), Pattern(13)]
            .map(|pattern| cpu::bytes(pattern, last, 8))
            .contains(&found),
        "the device reads {found:x?}"
    );
    Ok(found == cpu::bytes(Pattern(13), last, 8))
}

/// The device accesses the memory itself.
pub fn direct(case: &Case) -> Result<()> {
    ensure!(is_direct(case)?, "the device accesses a bounce buffer");
    Ok(())
}

/// The machine makes the device access a bounce buffer.
pub fn copied(case: &Case) -> Result<()> {
    ensure!(!is_direct(case)?, "the device accesses the memory itself");
    Ok(())
}

/// Behind an IOMMU a device cannot write what is mapped for reading.
pub fn read_only(case: &Case) -> Result<()> {
    each(case, &[65536], |buffer, import, size| {
        let mapping = buffer.map()?;
        cpu::fill(buffer, &mapping, Pattern(14))?;
        import.map(Direction::ToDevice)?;
        device_writes(import, size, Pattern(15))?;
        device_reads(import, size, Pattern(14))?;
        import.unmap()?;
        cpu::check(
            buffer,
            &mapping,
            &pieces(size),
            Pattern(14),
            Some(Pattern(14)),
        )
    })
}
