// SPDX-License-Identifier: GPL-2.0

//! Allocating and closing, where the memory was used a moment ago and where it was not.

use crate::clock::{
    rounds,
    rounds_with_pause,
    Clock,
    PAUSE, //
};
use crate::figure::{
    tell,
    KIB,
    MIB,
    SIZES, //
};
use crate::side::Side;
use anyhow::{
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use std::time::Duration;

/// Longer than any heap may keep contiguous memory that nobody uses.
const FORGOTTEN: Duration = Duration::from_millis(1500);

/// How many buffers of a size are alive at a time, one of which is then measured. Together they fit
/// into the pools.
fn batch(size: usize) -> usize {
    match size {
        0..=MIB => 8,
        _ => 1,
    }
}

/// How many buffers are alive at a time where no pool is to have any of them.
fn cold_batch(size: usize) -> usize {
    match size {
        0..=KIB_64 => 32,
        _ => (32 * MIB / size).min(8),
    }
}

const KIB_64: usize = 64 * KIB;

/// Gives back all that was kept for later.
fn forget() -> Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")
}

/// Allocates buffers, then closes them; returns what one takes on average.
fn allocate_and_close(clock: &Clock, heap: &Heap, size: usize, count: usize) -> Result<[f64; 2]> {
    let mut buffers: Vec<Buffer> = Vec::with_capacity(count);
    let (mut allocating, mut closing) = (0.0, 0.0);
    for _ in 0..count {
        let (time, buffer) = clock.time(|| heap.allocate(size))?;
        allocating += time;
        buffers.push(buffer);
    }
    for buffer in buffers {
        let (time, ()) = clock.time(|| {
            drop(buffer);
            Ok(())
        })?;
        closing += time;
    }
    Ok([allocating / count as f64, closing / count as f64])
}

/// Of heap `system`.
pub fn measure(clock: &Clock, _side: &Side) -> Result<()> {
    let heap = Heap::open("system")?;
    for size in SIZES {
        let [allocate, close] = rounds(|| allocate_and_close(clock, &heap, size, batch(size)))?;
        tell("allocate-warm/system", size, allocate);
        tell("close/system", size, close);
    }
    for size in SIZES {
        let [allocate, _] = rounds(|| {
            forget()?;
            std::thread::sleep(PAUSE);
            allocate_and_close(clock, &heap, size, cold_batch(size))
        })?;
        tell("allocate-cold/system", size, allocate);
    }
    Ok(())
}

/// Of the heaps in the default contiguous area.
pub fn measure_contiguous(clock: &Clock, side: &Side) -> Result<()> {
    let mut heaps = vec![("cma", side.contiguous_heap())];
    if side.is_ours() {
        heaps.push(("rk-dma-heap-cma", "rk-dma-heap-cma"));
    }
    for (name, node) in heaps {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let [allocate, close] = rounds(|| allocate_and_close(clock, &heap, size, 1))?;
            tell(&format!("allocate-warm/{name}"), size, allocate);
            tell(&format!("close/{name}"), size, close);
        }
        for size in SIZES {
            let [allocate, _] = rounds_with_pause(FORGOTTEN, || {
                forget()?;
                std::thread::sleep(PAUSE);
                allocate_and_close(clock, &heap, size, 1)
            })?;
            tell(&format!("allocate-cold/{name}"), size, allocate);
        }
    }
    Ok(())
}
