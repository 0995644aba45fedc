// SPDX-License-Identifier: GPL-2.0

//! Recently freed contiguous memory: it is reused, it is zero, and it is released when others need
//! it.

use crate::areas;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::client::{
    self,
    Client, //
};
use guest_support::heap::Heap;
use guest_support::kept_ranges;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::retry::{
    before,
    eventually, //
};
use std::fs;
use std::thread::sleep;
use std::time::{
    Duration,
    Instant, //
};

/// One heap per memory type, and its area.
pub const HEAPS: [(&str, TestArea); 3] = [
    ("cma", TestArea::Default),
    ("cma-uncached", TestArea::Default),
    ("rk-dma-heap-cma", TestArea::Rockchip),
];

/// One of the machine's two areas.
#[derive(Clone, Copy, PartialEq)]
pub enum TestArea {
    Default,
    Rockchip,
}

/// The Rockchip heap's area.
const ROCKCHIP: &str = "rockchip-pool@4c000000";

/// When a freed range is certainly released.
pub const EXPIRY_TIME: Duration = Duration::from_millis(2500);

/// When freed memory is usually prepared for reuse.
const PREPARE_TIME: Duration = Duration::from_millis(100);

/// Number of allocations: on a slow machine some of them use another range, because the thread is
/// still preparing the first one.
const ROUNDS: usize = 12;

pub fn add(tests: &mut Tests) {
    for (heap, area) in HEAPS {
        tests.add(format!("kept/used-again/{heap}"), move || reused(heap));
        tests.add(format!("kept/for-a-second/{heap}"), move || {
            for_a_second(heap, area)
        });
        tests.add(format!("kept/no-more-than-half/{heap}"), move || {
            no_more_than_half(heap, area)
        });
        tests.add(format!("kept/another-size/{heap}"), move || {
            another_size(heap, area)
        });
        tests.add(format!("kept/switched-off/{heap}"), move || {
            switched_off(heap, area)
        });
        tests.add(format!("kept/reclaimed/{heap}"), move || {
            reclaimed(heap, area)
        });
    }
    tests.add("kept/page-arrays", page_arrays);
    tests.add("kept/drivers-of-the-area", drivers_of_the_area);
    tests.add("kept/switch", switch);
}

pub fn find(wanted: TestArea) -> Result<areas::Area> {
    areas::all()?
        .into_iter()
        .find(|area| (area.name == ROCKCHIP) == (wanted == TestArea::Rockchip))
        .context("no such area")
}

pub fn available(area: TestArea) -> Result<usize> {
    Ok(find(area)?.available)
}

fn reused(name: &str) -> Result<()> {
    kept_ranges::release()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open(name)?;
    for size in [page_size(), 64 << 10, 1 << 20, 3 << 20] {
        let mut ranges = Vec::new();
        // Allocates with and without a pause for the thread that prepares freed ranges.
        for pause in [PREPARE_TIME, Duration::ZERO]
            .into_iter()
            .cycle()
            .take(ROUNDS)
        {
            let buffer = heap.allocate(size)?;
            buffer.map()?.check_zero()?;
            ranges.push(areas::range_of(&client, &buffer)?);
            buffer.map()?.fill(Pattern(77), 0);
            drop(buffer);
            sleep(pause);
        }
        // Two freed ranges may take turns.
        let known = |index: &usize| ranges[..*index].contains(&ranges[*index]);
        let same = (0..ranges.len()).filter(known).count();
        diagnose(&format!(
            "{name}: {size:#x} bytes: {same} times of {ROUNDS}"
        ));
        ensure!(same > 0, "never reused: {ranges:x?}");
    }
    Ok(())
}

fn for_a_second(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let size = 1 << 20;
    let before = available(area)?;
    let freed = Instant::now();
    drop(Heap::open(name)?.allocate(size)?);
    let after = available(area)?;
    // If the machine was stopped in between, the range may be released already.
    ensure!(
        after + size <= before || freed.elapsed() >= kept_ranges::KEEP_TIME,
        "not kept: {before} bytes available before, {after} after"
    );
    sleep(EXPIRY_TIME.saturating_sub(freed.elapsed()));
    eventually(EXPIRY_TIME, || {
        let now = available(area)?;
        ensure!(
            now >= before,
            "{now} bytes available, expected {before} as before"
        );
        Ok(())
    })
}

fn no_more_than_half(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let total = find(area)?.total;
    let heap = Heap::open(name)?;
    let size = total / 16 / page_size() * page_size();
    let buffers = (0..12)
        .map(|_| heap.allocate(size))
        .collect::<Result<Vec<_>>>()?;
    let held = available(area)?;
    drop(buffers);
    let after = available(area)?;
    diagnose(&format!(
        "{name}: {held} bytes available with 12 of 16 parts held, {after} after freeing, of {total}"
    ));
    ensure!(after >= held + 4 * size, "more than half is kept");
    Ok(())
}

// Kept ranges cannot serve another size, and must not make such an allocation fail.
fn another_size(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let total = find(area)?.total;
    let heap = Heap::open(name)?;
    for _ in 0..3 {
        let size = total / 32 / page_size() * page_size();
        let buffers = (0..15)
            .map(|_| heap.allocate(size))
            .collect::<Result<Vec<_>>>()?;
        drop(buffers);
        heap.allocate(total / 8 * 5)?.map()?.check_zero()?;
    }
    Ok(())
}

fn switched_off(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let heap = Heap::open(name)?;
    let before = available(area)?;
    drop(heap.allocate(4 << 20)?);
    kept_ranges::switch_to("0")?;
    let now = available(area)?;
    ensure!(
        now >= before,
        "{now} bytes available, expected {before} as before"
    );
    drop(heap.allocate(4 << 20)?);
    let now = available(area)?;
    ensure!(
        now >= before,
        "kept although keeping is disabled: {before} bytes available before, {now} after"
    );
    kept_ranges::switch_to("1")
}

fn reclaimed(name: &str, area: TestArea) -> Result<()> {
    let heap = Heap::open(name)?;
    before(kept_ranges::KEEP_TIME, kept_ranges::release, || {
        let before = available(area)?;
        let buffer = heap.allocate(4 << 20)?;
        let freed = Instant::now();
        drop(buffer);
        fs::write("/proc/sys/vm/drop_caches", "2")?;
        // A range that the thread is preparing is released shortly afterwards.
        loop {
            let (now, elapsed) = (available(area)?, freed.elapsed());
            if elapsed >= kept_ranges::KEEP_TIME {
                bail!(
                    "{now} bytes available after {elapsed:?}, expected {before}; \
                     ranges have expired"
                );
            }
            if now >= before {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
    })
}

fn page_arrays() -> Result<()> {
    kept_ranges::release()?;
    let allocator = Allocator::open()?;
    let (name, size) = ("rk-dma-heap-cma", 1 << 20);
    let array = allocator.pages(name, Some("kept"), size)?;
    let address = array.physical_address();
    drop(array);
    let array = allocator.pages(name, Some("kept"), size)?;
    ensure!(
        array.physical_address() == address,
        "another range than the freed one"
    );
    let mut bytes = vec![1; page_size()];
    array.read_mapped(0, &mut bytes)?;
    ensure!(bytes.iter().all(|byte| *byte == 0), "not zero");
    Ok(())
}

// Other drivers allocate from the area too. A driver that allocates most of it succeeds at once.
fn drivers_of_the_area() -> Result<()> {
    kept_ranges::release()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open("cma")?;
    let total = find(TestArea::Default)?.total;
    // More than the page allocator can allocate, and than is available if half is kept.
    let coherent = total / 8 * 5;
    client
        .allocates_coherent(coherent)
        .with_context(|| format!("{coherent} bytes of {total}, with nothing kept"))?;
    let size = total / 32 / page_size() * page_size();
    for round in 0..3 {
        let buffers = (0..15)
            .map(|_| heap.allocate(size))
            .collect::<Result<Vec<_>>>()?;
        drop(buffers);
        client
            .allocates_coherent(coherent)
            .with_context(|| format!("round {round}: {coherent} bytes of {total}"))?;
    }
    Ok(())
}

fn switch() -> Result<()> {
    for (text, expected) in [("0", "0\n"), ("1\n", "1\n"), ("0\n", "0\n"), ("1", "1\n")] {
        kept_ranges::switch_to(text)?;
        ensure!(
            fs::read_to_string(kept_ranges::NODE)? == expected,
            "after {text:?}"
        );
    }
    for junk in ["", "2", "on", "00", "-1"] {
        let answer = fs::write(kept_ranges::NODE, junk);
        let refused = matches!(&answer, Err(error) if error.raw_os_error() == Some(libc::EINVAL));
        // An empty write does not reach the kernel.
        ensure!(refused || junk.is_empty(), "{junk:?}: {answer:?}");
        ensure!(
            fs::read_to_string(kept_ranges::NODE)? == "1\n",
            "after {junk:?}"
        );
    }
    Ok(())
}
