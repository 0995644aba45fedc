// SPDX-License-Identifier: GPL-2.0

//! Pages that a driver still refers to, or maps, when their buffer or page array is freed: nobody
//! else gets them.

use crate::areas;
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kept_ranges;
use guest_support::ktap::Tests;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use std::thread::sleep;
use std::time::Duration;

/// Heaps of each source of memory and each memory type. Those that do not exist on this
/// architecture are skipped.
const HEAPS: [&str; 6] = [
    "cma",
    "cma-uncached",
    HEAP,
    "system",
    "system-uncached",
    "system-dma32",
];

/// Whether freed ranges are cached, and how long the thread that prepares freed memory has for it.
const CASES: [(&str, Duration); 4] = [
    ("0", Duration::ZERO),
    ("1", Duration::ZERO),
    ("1", Duration::from_millis(200)),
    // Longer than a range is cached.
    ("1", Duration::from_millis(2500)),
];

/// The number of buffers that are allocated after one was freed.
const BUFFERS: usize = 6;

pub fn add(tests: &mut Tests) {
    // First, because it expects no lost pages.
    tests.add("held/others-return", others_return);
    tests.add("held/others-return-meanwhile", others_return_meanwhile);
    tests.add("held/page-array", page_array);
    tests.add("held/mapped", mapped);
    for heap in HEAPS {
        tests.add(format!("held/buffer/{heap}"), move || buffer(heap));
    }
    tests.add("held/one-warning", one_warning);
}

/// Returns whether the page at `address` belongs to `buffer`.
fn contains(client: &Client, buffer: &Buffer, address: u64) -> Result<bool> {
    let segments = client.import(buffer)?.segments()?;
    Ok(segments.iter().any(|segment| {
        (segment.physical_address..segment.physical_address + segment.length).contains(&address)
    }))
}

fn page_array() -> Result<()> {
    let (allocator, page) = (Allocator::open()?, page_size());
    let size = 16 * page;
    for (on, pause) in CASES {
        kept_ranges::switch_to(on)?;
        let array = allocator.pages(HEAP, None, size)?;
        let held = array.physical_address() + 5 * page as u64;
        allocator.hold(held)?;
        drop(array);
        sleep(pause);
        let mut arrays = Vec::new();
        for number in 0..BUFFERS {
            let array = allocator.pages(HEAP, None, size)?;
            let first = array.physical_address();
            ensure!(
                !(first..first + size as u64).contains(&held),
                "keep_ranges={on}, {pause:?}: array {number} has the held page"
            );
            arrays.push(array);
        }
        allocator.let_go()?;
        drop(arrays);
        drop(allocator.pages(HEAP, None, size)?);
    }
    Ok(())
}

// The heap packs its area, so what returns is the lowest memory again.
fn others_return() -> Result<()> {
    const PAGES: usize = 300;
    const HELD: [usize; 3] = [37, 38, 200];
    const RETURNED: [(usize, usize); 3] = [(0, 37), (39, 161), (201, 99)];
    let (allocator, page) = (Allocator::open()?, page_size());
    // They also keep what returned from the next case.
    let mut arrays = Vec::new();
    for (on, pause) in CASES {
        kept_ranges::switch_to(on)?;
        let array = allocator.pages(HEAP, None, PAGES * page)?;
        let first = array.physical_address();
        // Each file holds one page.
        let mut holders = Vec::new();
        for index in HELD {
            let holder = Allocator::open()?;
            holder.hold(first + (index * page) as u64)?;
            holders.push(holder);
        }
        drop(array);
        sleep(pause);
        for (start, pages) in RETURNED {
            let array = allocator.pages(HEAP, None, pages * page)?;
            let found = array.physical_address();
            ensure!(
                found == first + (start * page) as u64,
                "keep_ranges={on}, {pause:?}: {pages} pages at {found:#x}, not page {start} of \
                 {first:#x}"
            );
            arrays.push(array);
        }
    }
    kept_ranges::switch_to("1")
}

// The thread that prepares freed ranges begins about 10 ms after the first was freed, and releases
// the pages that nobody holds while a request searches the area.
fn others_return_meanwhile() -> Result<()> {
    const PAGES: usize = 100;
    const HELD: usize = 37;
    let (allocator, page) = (Allocator::open()?, page_size());
    for pause in (8_000..13_000).step_by(250).map(Duration::from_micros) {
        // Empties the cache.
        kept_ranges::switch_to("0")?;
        kept_ranges::switch_to("1")?;
        let array = allocator.pages(HEAP, None, PAGES * page)?;
        let first = array.physical_address();
        // Smaller gaps below the array, which other tests left.
        let mut fillers = Vec::new();
        let mut above = false;
        while !above {
            let filler = allocator.pages(HEAP, None, HELD * page)?;
            above = filler.physical_address() > first;
            fillers.push(filler);
        }
        allocator.hold(first + (HELD * page) as u64)?;
        drop(array);
        sleep(pause);
        let array = allocator.pages(HEAP, None, HELD * page)?;
        let found = array.physical_address();
        ensure!(
            found == first,
            "{pause:?}: {HELD} pages at {found:#x}, not at {first:#x}"
        );
        allocator.let_go()?;
    }
    Ok(())
}

// The mapping alone holds a reference.
fn mapped() -> Result<()> {
    let (allocator, page) = (Allocator::open()?, page_size());
    let size = 16 * page;
    for (on, pause) in CASES {
        kept_ranges::switch_to(on)?;
        let array = allocator.pages(HEAP, None, size)?;
        allocator.hold(array.physical_address() + page as u64)?;
        let mapping = allocator.map_held()?;
        allocator.let_go()?;
        mapping.fill(Pattern(7), 0);
        drop(array);
        sleep(pause);
        let heap = Heap::open(HEAP)?;
        let mut buffers = Vec::new();
        for _ in 0..BUFFERS {
            let buffer = heap.allocate(size)?;
            buffer.map()?.fill(Pattern(8), 0);
            buffers.push(buffer);
        }
        mapping.check(Pattern(7), 0).with_context(|| {
            format!("keep_ranges={on}, {pause:?}: a buffer has the mapped page")
        })?;
        mapping.fill(Pattern(9), 0);
        for buffer in &buffers {
            buffer.map()?.check(Pattern(8), 0)?;
        }
        drop(mapping);
        drop(buffers);
        drop(heap.allocate(size)?);
    }
    Ok(())
}

fn buffer(name: &str) -> Result<()> {
    if cfg!(target_arch = "x86_64") && name.contains("uncached") {
        ensure!(Heap::open(name).is_err(), "{name} exists");
        return Ok(());
    }
    client::load("")?;
    let (client, allocator) = (Client::open()?, Allocator::open()?);
    let (heap, page) = (Heap::open(name)?, page_size());
    for size in [page, 2 * page, 64 << 10, 1 << 20] {
        for (on, pause) in &CASES[..3] {
            kept_ranges::switch_to(on)?;
            let buffer = heap.allocate(size)?;
            let segments = client.import(&buffer)?.segments()?;
            let last = segments.last().context("a buffer without segments")?;
            let held = last.physical_address + last.length - page as u64;
            buffer.map()?.fill(Pattern(1), 0);
            allocator.hold(held)?;
            drop(buffer);
            sleep(*pause);
            let mut buffers = Vec::new();
            for number in 0..BUFFERS {
                let buffer = heap.allocate(size)?;
                buffer.map()?.check_zero()?;
                ensure!(
                    !contains(&client, &buffer, held)?,
                    "{size:#x} bytes, keep_ranges={on}, {pause:?}: buffer {number} has the page"
                );
                buffers.push(buffer);
            }
            allocator.let_go()?;
            drop(buffers);
            heap.allocate(size)?.map()?.check_zero()?;
        }
    }
    Ok(())
}

fn one_warning() -> Result<()> {
    let (allocator, page) = (Allocator::open()?, page_size());
    kept_ranges::switch_to("0")?;
    for _ in 0..2 {
        let array = allocator.pages(HEAP, None, 2 * page)?;
        allocator.hold(array.physical_address())?;
        drop(array);
        allocator.let_go()?;
    }
    let log = areas::module_log()?;
    let warnings: Vec<_> = log
        .iter()
        .filter(|line| line.starts_with("area ") && line.contains("were freed while"))
        .collect();
    ensure!(warnings.len() == 1, "{warnings:#?} in {log:#?}");
    kept_ranges::switch_to("1")
}
