// SPDX-License-Identifier: GPL-2.0

//! Memory below 4 GiB on a machine that has more.

use super::{
    allocate,
    fill_area,
    range,
    FRAME,
    MIB, //
};
use crate::low_zones::LowZone;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::page_size;

const END: u64 = 1 << 32;

/// Returns the pages of the zones below 4 GiB that are free, and those that the kernel keeps there
/// from allocations that may be anywhere.
fn of_low_zones() -> Result<(usize, usize)> {
    let (mut free, mut kept) = (0, 0);
    for zone in LowZone::all()? {
        free += zone.number("pages free")?;
        kept += zone.kept()?;
    }
    Ok((free, kept))
}

/// Sizes from the page allocator, and such as are taken from other users.
const SIZES: [usize; 3] = [64 << 10, MIB, FRAME];

// Without a promise, memory is below 4 GiB nevertheless as long as it can be spared: drivers of
// devices with 32-bit addresses import these buffers.
pub fn first() -> Result<()> {
    let _area = fill_area()?;
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    for size in SIZES {
        for _ in 0..16 {
            let buffer = heap.allocate(size)?;
            let range = range(&buffer)?;
            ensure!(range.end() <= END, "{size} bytes at {range:x?}");
            held.push(buffer);
        }
    }
    Ok(())
}

// Where low memory is short, it is left to those who have no other, and buffers are above.
pub fn left_to_others() -> Result<()> {
    let _area = fill_area()?;
    let heap = Heap::open("cma")?;
    let low = Heap::open("system-dma32")?;
    let mut taken = Vec::new();
    loop {
        let (free, kept) = of_low_zones()?;
        if free < kept + (MIB / page_size()) {
            break;
        }
        // Large ones first: what is left is less than one.
        let spare = (free - kept) * page_size();
        let size = if spare > 96 * MIB { 32 * MIB } else { MIB };
        match allocate(&low, size) {
            Ok(buffer) => taken.push(buffer),
            Err(errno) => {
                diagnose(&format!(
                    "system-dma32: {errno} with {} MiB to spare",
                    spare / MIB
                ));
                break;
            }
        }
    }
    let before = of_low_zones()?;
    diagnose(&format!("low pages: {} free, {} kept", before.0, before.1));
    let mut above = 0;
    for size in SIZES {
        for _ in 0..8 {
            let buffer = heap
                .allocate(size)
                .with_context(|| format!("{size} bytes"))?;
            above += usize::from(range(&buffer)?.base >= END);
            taken.push(buffer);
        }
    }
    let after = of_low_zones()?;
    diagnose(&format!(
        "{above} above 4 GiB; low pages: {} free, {} kept",
        after.0, after.1
    ));
    ensure!(above > 0, "all are below 4 GiB");
    // Programs pass the addresses of this heap to devices, and nobody checks them.
    let by_address = Heap::open("rk-dma-heap-cma")?;
    for size in SIZES {
        if let Ok(buffer) = allocate(&by_address, size) {
            let range = range(&buffer)?;
            ensure!(range.end() <= END, "rk-dma-heap-cma: {range:x?}");
            taken.push(buffer);
        }
    }
    // Tables of pages and other users take some.
    let slack = 8 * MIB / page_size();
    ensure!(
        after.0 + slack >= after.1.min(before.0),
        "low memory is empty"
    );
    Ok(())
}

// Of low memory, what may be above 4 GiB takes no larger share than of all memory, although more
// could be spared. What must be below is not bound by that.
pub fn share() -> Result<()> {
    let _area = fill_area()?;
    let low: usize = LowZone::all()?
        .iter()
        .map(|zone| zone.number("managed"))
        .sum::<Result<usize>>()?;
    let share = low * page_size() / 100 * 25;
    let heap = Heap::open("cma")?;
    let (mut held, mut below) = (Vec::new(), 0);
    let mut allocate = |heap: &Heap, size: usize| -> Result<bool> {
        let buffer = heap
            .allocate(size)
            .with_context(|| format!("{size} bytes after {} buffers", held.len()))?;
        let is_below = range(&buffer)?.end() <= END;
        held.push(buffer);
        Ok(is_below)
    };
    for _ in 0..share / FRAME + 4 {
        if allocate(&heap, FRAME)? {
            below += FRAME;
        }
    }
    let (free, kept) = of_low_zones()?;
    diagnose(&format!(
        "{} MiB of {} MiB below 4 GiB; low pages: {free} free, {kept} kept",
        below / MIB,
        share / MIB
    ));
    ensure!(free > kept + FRAME / page_size(), "low memory is short");
    ensure!(below <= share, "{below} bytes are below 4 GiB");
    // Low memory in pieces has no place for more frames.
    ensure!(2 * below > share, "only {below} bytes are below 4 GiB");
    while allocate(&heap, MIB)? {
        below += MIB;
        ensure!(below <= share, "{below} bytes are below 4 GiB");
    }
    let promised = Heap::open("cma-dma32")?;
    for size in SIZES {
        ensure!(allocate(&promised, size)?, "cma-dma32: above 4 GiB");
    }
    Ok(())
}
