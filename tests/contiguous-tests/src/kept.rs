// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory that was freed a moment ago: it is used again, it is zero, and nobody misses
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
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::eventually;
use nix::errno::Errno;
use std::fs;
use std::thread::sleep;
use std::time::{
    Duration,
    Instant, //
};

const SWITCH: &str = "/proc/rk_dma_heap/keep_ranges";

/// A heap of each kind, and its area.
const HEAPS: [(&str, Which); 3] = [
    ("cma", Which::Default),
    ("cma-uncached", Which::Default),
    ("rk-dma-heap-cma", Which::Rockchip),
];

/// An area of the machine, which has two of them.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    Default,
    Rockchip,
}

/// The Rockchip heap's area.
const ROCKCHIP: &str = "rockchip-pool@4c000000";

/// How long a range is kept, and until it certainly is not any more.
const KEPT: Duration = Duration::from_millis(1000);
const GONE: Duration = Duration::from_millis(2500);

/// Until what was freed is ready again, on a machine that has time.
const SOON: Duration = Duration::from_millis(100);

/// On one that has none, another range is taken while the thread makes the first one ready.
const ROUNDS: usize = 12;

pub fn add(tests: &mut Tests) {
    for (heap, area) in HEAPS {
        tests.add(format!("kept/used-again/{heap}"), move || used_again(heap));
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

fn find(which: Which) -> Result<areas::Area> {
    areas::all()?
        .into_iter()
        .find(|area| (area.name == ROCKCHIP) == (which == Which::Rockchip))
        .context("no such area")
}

fn available(area: Which) -> Result<usize> {
    Ok(find(area)?.available)
}

fn switch_to(on: &str) -> Result<()> {
    fs::write(SWITCH, on).with_context(|| format!("cannot write {SWITCH}"))
}

/// Nothing is kept when a test begins, and ranges are kept from then on.
fn begin() -> Result<()> {
    switch_to("0")?;
    switch_to("1")
}

fn used_again(name: &str) -> Result<()> {
    begin()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open(name)?;
    for size in [page_size(), 64 << 10, 1 << 20, 3 << 20] {
        let mut places = Vec::new();
        // Ready again, and taken before the thread had time to make it so, or while it is at it.
        for pause in [SOON, Duration::ZERO].into_iter().cycle().take(ROUNDS) {
            let buffer = heap.allocate(size)?;
            buffer.map()?.check_zero()?;
            places.push(areas::place_of(&client, &buffer)?);
            buffer.map()?.fill(Pattern(77), 0);
            drop(buffer);
            sleep(pause);
        }
        let same = places.windows(2).filter(|pair| pair[0] == pair[1]).count();
        diagnose(&format!(
            "{name}: {size:#x} bytes: {same} times of {ROUNDS}"
        ));
        ensure!(same > 0, "never used again: {places:x?}");
    }
    Ok(())
}

fn for_a_second(name: &str, area: Which) -> Result<()> {
    begin()?;
    let size = 1 << 20;
    let before = available(area)?;
    let freed = Instant::now();
    drop(Heap::open(name)?.allocate(size)?);
    let after = available(area)?;
    // On a machine that was stopped meanwhile it may be gone again.
    ensure!(
        after + size <= before || freed.elapsed() >= KEPT,
        "not kept: {before} bytes free before, {after} after"
    );
    sleep(GONE.saturating_sub(freed.elapsed()));
    eventually(GONE, || {
        let now = available(area)?;
        ensure!(now >= before, "{before} bytes were free, {now} are");
        Ok(())
    })
}

fn no_more_than_half(name: &str, area: Which) -> Result<()> {
    begin()?;
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
        "{name}: {held} bytes free with 12 of 16 parts held, {after} when they were freed, of {total}"
    ));
    ensure!(after >= held + 4 * size, "more than half is kept");
    Ok(())
}

// What is kept is no use to a buffer of another size, and must not stand in its way.
fn another_size(name: &str, area: Which) -> Result<()> {
    begin()?;
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

fn switched_off(name: &str, area: Which) -> Result<()> {
    begin()?;
    let heap = Heap::open(name)?;
    let before = available(area)?;
    drop(heap.allocate(4 << 20)?);
    switch_to("0")?;
    let now = available(area)?;
    ensure!(now >= before, "{before} bytes were free, {now} are");
    drop(heap.allocate(4 << 20)?);
    let now = available(area)?;
    ensure!(now >= before, "kept although that is off: {before}, {now}");
    switch_to("1")
}

fn reclaimed(name: &str, area: Which) -> Result<()> {
    begin()?;
    let heap = Heap::open(name)?;
    let before = available(area)?;
    let freed = Instant::now();
    drop(heap.allocate(4 << 20)?);
    fs::write("/proc/sys/vm/drop_caches", "2")?;
    // Where the thread is making it ready, it goes back a moment later.
    loop {
        let (now, took) = (available(area)?, freed.elapsed());
        if took >= KEPT {
            bail!(
                "{before} bytes were free, {now} are after {took:?}, when nothing is kept any more"
            );
        }
        if now >= before {
            return Ok(());
        }
        sleep(Duration::from_millis(5));
    }
}

fn page_arrays() -> Result<()> {
    begin()?;
    let allocator = Allocator::open()?;
    let (name, size) = ("rk-dma-heap-cma", 1 << 20);
    let array = allocator.pages(name, Some("kept"), size)?;
    let place = array.physical_address();
    drop(array);
    let array = allocator.pages(name, Some("kept"), size)?;
    ensure!(array.physical_address() == place, "another place");
    let mut bytes = vec![1; page_size()];
    array.read_mapped(0, &mut bytes)?;
    ensure!(bytes.iter().all(|byte| *byte == 0), "not zero");
    Ok(())
}

// The area belongs to every driver. One that asks for most of it gets it, if not at once then a
// moment later.
fn drivers_of_the_area() -> Result<()> {
    begin()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open("cma")?;
    let total = find(Which::Default)?.total;
    // More than the page allocator can give, and than is left where half is kept.
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
        let freed = Instant::now();
        let mut failures = 0;
        while let Err(errno) = client.allocates_coherent(coherent) {
            ensure!(errno == Errno::ENOMEM, "{errno}");
            failures += 1;
            ensure!(
                freed.elapsed() < GONE,
                "nothing after {:?}",
                freed.elapsed()
            );
            sleep(Duration::from_millis(20));
        }
        diagnose(&format!(
            "round {round}: after {} ms, {failures} failures",
            freed.elapsed().as_millis()
        ));
    }
    Ok(())
}

fn switch() -> Result<()> {
    for (text, expected) in [("0", "0\n"), ("1\n", "1\n"), ("0\n", "0\n"), ("1", "1\n")] {
        switch_to(text)?;
        ensure!(fs::read_to_string(SWITCH)? == expected, "after {text:?}");
    }
    for junk in ["", "2", "on", "00", "-1"] {
        let answer = fs::write(SWITCH, junk);
        let refused = matches!(&answer, Err(error) if error.raw_os_error() == Some(libc::EINVAL));
        // An empty write is none.
        ensure!(refused || junk.is_empty(), "{junk:?}: {answer:?}");
        ensure!(fs::read_to_string(SWITCH)? == "1\n", "after {junk:?}");
    }
    Ok(())
}
