// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory outside of the areas: heaps over the default area use it where the area has no
//! place, or where there is no area.

pub mod files;
mod frames;
mod heaps;
mod isolated;
mod killed;
mod limit;
mod little;
mod low;
mod pinned;
mod reloading;
mod silent;

use crate::areas::{
    self,
    Range, //
};
use crate::replay::HEAP;
use anyhow::{
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::heaps_file;
use guest_support::ktap::Tests;
use guest_support::{
    memory,
    page_size, //
};
use std::path::Path;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A frame of 2160p NV12, and a bit.
const FRAME: usize = 12 * MIB;

/// A frame of 1080p NV12, and a bit.
const SMALL_FRAME: usize = 3 * MIB;

/// Heaps that may use memory outside of the areas. Those that do not exist on this architecture are
/// left out.
const HEAPS: [&str; 6] = [
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    HEAP,
];

/// Time for a test that fills memory.
const LIMIT: Duration = Duration::from_secs(400);

pub fn add(tests: &mut Tests) {
    tests.add("beyond/heaps", heaps::heaps);
    tests.add("beyond/too-large", heaps::too_large);
    tests.add("beyond/page-array", heaps::page_array);
    tests.add("beyond/returned", heaps::returned);
    tests.add_within(LIMIT, "beyond/frames", || frames::frames("cma"));
    tests.add_within(LIMIT, "beyond/frames-below-4-gib", || {
        frames::frames("cma-dma32")
    });
    tests.add_within(
        LIMIT,
        "beyond/frames-after-files",
        frames::frames_after_files,
    );
    tests.add_within(LIMIT, "beyond/limit", limit::limit);
    tests.add("no-area/estimate", limit::estimate);
    tests.add_within(LIMIT, "no-area/refused", limit::refused);
    tests.add_within(LIMIT, "beyond/killed", killed::killed);
    tests.add_within(LIMIT, "killed/waiting", killed::killed_while_waiting);
    tests.add_within(LIMIT, "beyond/pinned", pinned::pinned);
    tests.add_within(LIMIT, "device-pins/requests", pinned::pinned_for_device);
    tests.add_within(
        LIMIT,
        "beyond/silent-file-system",
        silent::silent_file_system,
    );
    if cfg!(target_arch = "x86_64") {
        // On arm64 the memory that is there at boot cannot be taken offline.
        tests.add_within(LIMIT, "beyond/isolated", isolated::isolated);
    }
    tests.add_within(LIMIT, "added-memory/frames", isolated::added);
    tests.add_within(LIMIT, "beyond/little-memory", little::little_memory);
    tests.add_within(LIMIT, "low-memory/first", low::first);
    tests.add_within(LIMIT, "low-memory/left-to-others", low::left_to_others);
    tests.add_within(LIMIT, "low-memory/share", low::share);
    tests.add_within(LIMIT, "beyond/unload", reloading::unload);
    tests.add_within(LIMIT, "beyond/off", reloading::off);
}

/// Returns the size of all areas.
fn of_areas() -> Result<usize> {
    match Path::new("/sys/kernel/mm/cma").exists() {
        true => Ok(areas::all()?.iter().map(|area| area.total).sum()),
        false => Ok(0),
    }
}

/// Returns the limit for memory outside of the areas. The suite states the module's parameter in
/// the environment if it is not the default.
fn limit_beyond() -> Result<usize> {
    let percent = match std::env::var("CONTIG_MAX_PERCENT") {
        Ok(percent) => percent.parse()?,
        Err(_) => 25,
    };
    Ok(memory::total()? / 100 * percent)
}

/// Returns how much memory others may take or return while `size` bytes are allocated.
fn tolerance(size: usize) -> usize {
    (size / 8).max(MIB)
}

fn exists(name: &str) -> bool {
    !(cfg!(target_arch = "x86_64") && name.contains("uncached"))
}

fn allocate(heap: &Heap, size: usize) -> nix::Result<Buffer> {
    heap.allocate_with(&AllocationData::read_write(size as u64))
}

/// Allocates all of the default area, if there is one, so that its heaps take other memory.
fn fill_area() -> Result<Vec<Buffer>> {
    const NAME: &str = "cma";
    let heap = Heap::open(NAME)?;
    let mut held = Vec::new();
    for size in [4 * MIB, MIB, 64 << 10, page_size()] {
        loop {
            let buffer = allocate(&heap, size)?;
            let beyond = heaps_file::size(NAME, "beyond")?.context("no column for other memory")?;
            if beyond > 0 {
                break;
            }
            held.push(buffer);
        }
    }
    Ok(held)
}

/// Returns the ranges of a buffer, if this machine has the driver that tells them.
fn range(buffer: &Buffer) -> Result<Range> {
    areas::range_of(&areas::client()?, buffer)
}
