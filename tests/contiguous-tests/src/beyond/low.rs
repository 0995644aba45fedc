// SPDX-License-Identifier: GPL-2.0

//! Memory below 4 GiB on a machine that has more.

use super::{
    allocate,
    of_areas,
    range,
    FRAME,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::page_size;

const END: u64 = 1 << 32;

/// Returns the pages of the zones below 4 GiB that are free, and those that the kernel keeps there
/// from allocations that may be anywhere: the watermark high and the protection.
fn of_low_zones() -> Result<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let (mut free, mut kept) = (0, 0);
    for zone in text
        .split("Node ")
        .filter(|zone| zone.contains("zone   ") || zone.contains("zone    "))
    {
        let name = zone.lines().next().unwrap_or_default();
        if !name.contains("DMA") {
            continue;
        }
        let number = |prefix: &str| -> Result<usize> {
            let line = zone
                .lines()
                .find_map(|line| line.trim().strip_prefix(prefix));
            Ok(line
                .with_context(|| format!("no {prefix}"))?
                .trim()
                .parse()?)
        };
        if number("managed")? == 0 {
            continue;
        }
        let protection = zone
            .lines()
            .find_map(|line| line.trim().strip_prefix("protection: ("));
        let protection = protection.context("no protection")?.trim_end_matches(')');
        let most = protection
            .split(", ")
            .filter_map(|pages| pages.parse::<usize>().ok())
            .max();
        free += number("pages free")?;
        kept += number("high")? + most.context("no protection")?;
    }
    ensure!(kept > 0, "no zone below 4 GiB");
    Ok((free, kept))
}

/// Sizes from the page allocator, and such as are taken from other users.
const SIZES: [usize; 3] = [64 << 10, MIB, FRAME];

/// Fills the area.
fn fill_area() -> Result<Vec<Buffer>> {
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    for size in [4 * MIB, MIB, 64 << 10, page_size()] {
        while memory::meminfo("CmaFree")? >= size {
            let buffer = heap.allocate(size)?;
            held.push(buffer);
            if held.len() > 2 * of_areas()? / (64 << 10) {
                break;
            }
        }
    }
    Ok(held)
}

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
