// SPDX-License-Identifier: GPL-2.0

//! Devices that would not read and write the bytes of the CPU: they get an error instead.

use crate::{
    cpu,
    one::SIZES,
    Case, //
};
use anyhow::{
    Context,
    Result, //
};
use guest_support::client::Direction;
use guest_support::dma_buf::{
    SYNC_END,
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::pattern::Pattern;
use nix::errno::Errno;

/// Lines in the caches of a device that snoops them may be stale, so it is not attached.
pub fn not_attached(case: &Case) -> Result<()> {
    let devices = case.devices()?;
    let heap = Heap::open(&case.heap)?;
    for size in SIZES {
        let buffer = heap.allocate(size)?;
        for device in &devices {
            let result = device.attach(&buffer);
            expect_errno(format!("{size} bytes"), result, Errno::EOPNOTSUPP)?;
        }
    }
    Ok(())
}

/// The memory is out of the device's reach, and nothing copies it. The CPU can use the buffer.
pub fn not_mapped(case: &Case) -> Result<()> {
    let devices = case.devices()?;
    let heap = Heap::open(&case.heap)?;
    for size in SIZES {
        let buffer = heap.allocate(size)?;
        let mapping = buffer.map()?;
        for device in &devices {
            let import = device
                .attach(&buffer)
                .with_context(|| format!("{size} bytes"))?;
            for direction in [Direction::Both, Direction::ToDevice, Direction::FromDevice] {
                let what = format!("{size} bytes, {direction:?}");
                expect_errno(what, import.map(direction), Errno::EIO)?;
            }
            cpu::fill(&buffer, &mapping, Pattern(1))?;
            cpu::check(&buffer, &mapping, &[], Pattern(1), Some(Pattern(1)))?;
        }
    }
    Ok(())
}

/// The kernel would maintain a bounce buffer, and not the memory, whose address a program passes to
/// a device. So a sync fails instead of doing nothing.
pub fn not_synced(case: &Case) -> Result<()> {
    let heap = Heap::open(&case.heap)?;
    for size in SIZES {
        let buffer = heap.allocate(size)?;
        for flags in [
            SYNC_START | SYNC_READ,
            SYNC_START | SYNC_WRITE,
            SYNC_END | SYNC_RW,
        ] {
            let what = format!("{size} bytes, flags {flags:#x}");
            expect_errno(what, buffer.sync(flags), Errno::EIO)?;
        }
    }
    Ok(())
}
