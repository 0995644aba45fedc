// SPDX-License-Identifier: GPL-2.0

//! The cost of allocations of contiguous memory with a reserve, and how long the longest one of
//! many takes while a page cache fills memory.

use crate::allocations::allocate_and_close;
use crate::clock::{
    rounds_with_pause,
    Clock, //
};
use crate::figure::{
    print_figure,
    MIB,
    SIZES, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::heaps_file;
use guest_support::mib_file::CONTIG_RESERVE;
use guest_support::page_cache::PageCache;
use guest_support::retry::eventually;
use std::time::Duration;

/// Long enough for the thread to zero what was freed.
const PAUSE: Duration = Duration::from_millis(300);

/// The size of each buffer whose time is compared with the others.
const SIZE: usize = MIB;

const COUNT: usize = 1000;

/// The time between them: more than it takes to zero one.
const INTERVAL: Duration = Duration::from_millis(5);

/// What the page cache leaves free.
const LEFT: usize = 64 * MIB;

/// Measures allocations from a full reserve.
pub fn measure(clock: &Clock) -> Result<()> {
    eventually(Duration::from_secs(60), || {
        let size = CONTIG_RESERVE.get()?;
        let filled = heaps_file::size("cma", "reserve")?.context("no column reserve")?;
        ensure!(
            size > 0 && filled >= size,
            "{filled} of {size} bytes are filled"
        );
        Ok(())
    })?;
    let heap = Heap::open("cma")?;
    for size in SIZES {
        let [allocate, _] = rounds_with_pause(PAUSE, || allocate_and_close(clock, &heap, size, 1))?;
        print_figure("allocate-reserve/cma", size, allocate);
    }
    Ok(())
}

/// Measures many allocations while a page cache fills memory: their median, and the longest one.
pub fn measure_latency(clock: &Clock) -> Result<()> {
    let _cache = PageCache::fill(LEFT)?;
    let heap = Heap::open("cma")?;
    let mut times = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let [allocate, _] = allocate_and_close(clock, &heap, SIZE, 1)?;
        times.push(allocate);
        std::thread::sleep(INTERVAL);
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(COUNT / 2).context("no times")?;
    let largest = times.last().context("no times")?;
    print_figure("latency-median/cma", SIZE, *median);
    print_figure("latency-largest/cma", SIZE, *largest);
    Ok(())
}
