// SPDX-License-Identifier: GPL-2.0

//! The cost of allocation and close, with recently freed memory (warm) and without (cold).

use crate::clock::{
    rounds,
    rounds_with_pause,
    Clock,
    PAUSE, //
};
use crate::figure::{
    print_figure,
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

/// Longer than any heap caches freed contiguous memory.
const CACHE_LIFETIME: Duration = Duration::from_millis(1500);

/// Returns the number of simultaneously live buffers. Together they fit into the pools.
fn batch(size: usize) -> usize {
    match size {
        0..=MIB => 8,
        _ => 1,
    }
}

/// Returns the number of simultaneously live buffers if no buffer comes from a pool.
fn cold_batch(size: usize) -> usize {
    match size {
        0..=SIZE_64_KIB => 32,
        _ => (32 * MIB / size).min(8),
    }
}

const SIZE_64_KIB: usize = 64 * KIB;

/// Empties all caches and pools.
fn drop_caches() -> Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")
}

/// Allocates `count` buffers, then closes them. Returns the mean cost per allocation and per close.
pub fn allocate_and_close(
    clock: &Clock,
    heap: &Heap,
    size: usize,
    count: usize,
) -> Result<[f64; 2]> {
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

/// Measures the heap `system`.
pub fn measure(clock: &Clock, _side: &Side) -> Result<()> {
    let heap = Heap::open("system")?;
    for size in SIZES {
        let [allocate, close] = rounds(|| allocate_and_close(clock, &heap, size, batch(size)))?;
        print_figure("allocate-warm/system", size, allocate);
        print_figure("close/system", size, close);
    }
    for size in SIZES {
        let [allocate, _] = rounds(|| {
            drop_caches()?;
            std::thread::sleep(PAUSE);
            allocate_and_close(clock, &heap, size, cold_batch(size))
        })?;
        print_figure("allocate-cold/system", size, allocate);
    }
    Ok(())
}

/// Measures the heaps of the default CMA area.
pub fn measure_contiguous(clock: &Clock, side: &Side) -> Result<()> {
    let mut heaps = vec![("cma", side.contiguous_heap())];
    if side.is_ours() {
        heaps.push(("rk-dma-heap-cma", "rk-dma-heap-cma"));
    }
    for (name, node) in heaps {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let [allocate, close] = rounds(|| allocate_and_close(clock, &heap, size, 1))?;
            print_figure(&format!("allocate-warm/{name}"), size, allocate);
            print_figure(&format!("close/{name}"), size, close);
        }
        for size in SIZES {
            let [allocate, _] = rounds_with_pause(CACHE_LIFETIME, || {
                drop_caches()?;
                std::thread::sleep(PAUSE);
                allocate_and_close(clock, &heap, size, 1)
            })?;
            print_figure(&format!("allocate-cold/{name}"), size, allocate);
        }
    }
    Ok(())
}
