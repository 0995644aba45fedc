// SPDX-License-Identifier: GPL-2.0

//! The reserve of contiguous memory: it is filled, used, filled again, and given back when others
//! need it.

mod giving_way;
mod trace;

use crate::areas::range_of;
use crate::beyond::files::Files;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::heaps_file;
use guest_support::kernel_module;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::mib_file::CONTIG_RESERVE;
use guest_support::page_cache::PageCache;
use guest_support::pattern::Pattern;
use guest_support::retry::eventually;
use nix::errno::Errno;
use std::path::Path;
use std::time::{
    Duration,
    Instant, //
};
use trace::Attempts;

const MIB: usize = 1 << 20;

/// The size of the reserve in these tests. The limit of the machine permits more.
const SIZE: usize = 96 * MIB;

/// Within this time the thread reaches the mark on a slow machine.
const FILL: Duration = Duration::from_secs(60);

/// Time for a test that fills memory.
const LIMIT: Duration = Duration::from_secs(300);

/// Heaps that use the reserve. Those that do not exist on this architecture are left out.
const HEAPS: [&str; 5] = [
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "rk-dma-heap-cma",
];

pub fn add(tests: &mut Tests) {
    tests.add_within(LIMIT, "contig-reserve/filled", filled);
    tests.add("contig-reserve/refused", refused);
    tests.add_within(LIMIT, "contig-reserve/used", used);
    tests.add_within(LIMIT, "contig-reserve/after-files", after_files);
    tests.add_within(LIMIT, "contig-reserve/page-cache", page_cache);
    tests.add_within(LIMIT, "contig-reserve/zeroed-again", zeroed_again);
    tests.add_within(LIMIT, "contig-reserve/all-of-it", giving_way::all_of_it);
    tests.add_within(LIMIT, "contig-reserve/limit", giving_way::limit);
    tests.add_within(LIMIT, "contig-reserve/system-heap", giving_way::system_heap);
    if memory::total().is_ok_and(|total| total > 3 << 30) {
        // On a smaller machine all memory is below 4 GiB.
        tests.add_within(LIMIT, "contig-reserve/low-memory", giving_way::low_memory);
        tests.add_within(LIMIT, "contig-reserve/bit-by-bit", giving_way::bit_by_bit);
    }
    tests.add_within(LIMIT, "contig-reserve/meanwhile", meanwhile);
    tests.add_within(
        LIMIT,
        "contig-reserve/under-pressure",
        giving_way::under_pressure,
    );
    tests.add_within(LIMIT, "contig-reserve/off", off);
    tests.add_within(LIMIT, "contig-reserve/unload", unload);
}

fn exists(name: &&str) -> bool {
    !(cfg!(target_arch = "x86_64") && name.contains("uncached"))
}

/// Returns a column of `cma` in the file of the heaps, in bytes.
fn column(name: &str) -> Result<usize> {
    heaps_file::size("cma", name)?.with_context(|| format!("no column {name}"))
}

/// Returns what the reserve has.
fn reserve() -> Result<usize> {
    column("reserve")
}

fn set(size: usize) -> Result<()> {
    CONTIG_RESERVE.set(size)
}

fn wait_until(what: &str, condition: impl Fn(usize) -> bool) -> Result<()> {
    eventually(FILL, || {
        let reserve = reserve()?;
        ensure!(condition(reserve), "{what}: {} MiB", reserve / MIB);
        Ok(())
    })
}

/// Fills the reserve, and empties it when this is dropped.
struct Filled;

impl Filled {
    fn new() -> Result<Self> {
        Self::to(SIZE, SIZE)
    }

    /// Sets the size to `size`, and waits until there are `least` bytes.
    fn to(size: usize, least: usize) -> Result<Self> {
        let this = Filled;
        set(size)?;
        wait_until("not filled", |reserve| reserve >= least)?;
        // What was added last is zeroed.
        std::thread::sleep(Duration::from_secs(1));
        Ok(this)
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = set(0);
    }
}

fn allocate(heap: &Heap, size: usize) -> nix::Result<Buffer> {
    heap.allocate_with(&AllocationData::read_write(size as u64))
}

// The thread fills it up, what it has counts as available memory, and nothing is lost.
fn filled() -> Result<()> {
    set(0)?;
    let total = memory::free_and_reclaimable()?;
    let available = memory::meminfo("MemAvailable")?;
    let filled = Filled::new()?;
    ensure!(CONTIG_RESERVE.get()? == SIZE);
    let reserve = reserve()?;
    ensure!(reserve < SIZE + 40 * MIB, "{} MiB", reserve / MIB);
    let left = memory::meminfo("MemAvailable")?;
    diagnose(&format!(
        "{} MiB reserved, available {} MiB before, {} MiB now",
        reserve / MIB,
        available / MIB,
        left / MIB
    ));
    ensure!(
        left + SIZE / 2 > available,
        "it does not count as available"
    );
    let free = memory::free()?;
    ensure!(free + SIZE - 8 * MIB < total, "it is not taken: {free}");
    set(SIZE / 2)?;
    ensure!(self::reserve()? <= SIZE / 2, "more than was written");
    drop(filled);
    ensure!(self::reserve()? == 0, "something is left");
    let back = memory::free_and_reclaimable()?;
    ensure!(
        back + checkers::tolerated(4 * MIB) > total,
        "{total} before, {back} after"
    );
    Ok(())
}

// What is no number, or beyond the limit, is refused and changes nothing.
fn refused() -> Result<()> {
    set(0)?;
    for text in [
        "",
        "x",
        "-1",
        "+1",
        "1.5",
        "4294967296",
        "4294967295",
        "0x10",
    ] {
        let answer = CONTIG_RESERVE.write(text);
        let accepted = text.is_empty() || answer == Err(Errno::EINVAL);
        ensure!(accepted, "{text:?}: {answer:?}");
    }
    let too_much = memory::total()? / 4 + MIB;
    ensure!(set(too_much).is_err(), "more than the limit");
    ensure!(CONTIG_RESERVE.get()? == 0);
    ensure!(reserve()? == 0);
    Ok(())
}

/// Allocates buffers of several sizes from the reserve and checks them. Returns them.
fn take(heaps: &[&str]) -> Result<Vec<Buffer>> {
    client::load("")?;
    let client = Client::open()?;
    let mut held = Vec::new();
    for name in heaps {
        let heap = Heap::open(name)?;
        for size in [4096, 64 << 10, MIB, 3 * MIB, 12 * MIB] {
            let size = size.max(guest_support::page_size());
            let buffer = allocate(&heap, size).with_context(|| format!("{name}: {size}"))?;
            let range = range_of(&client, &buffer)?;
            let align = size.next_power_of_two().min(2 * MIB) as u64;
            ensure!(range.base % align == 0, "{name}: {size:#x}: {range:x?}");
            ensure!(!name.contains("dma32") || range.end() <= 1 << 32);
            buffer.map()?.check_zero()?;
            buffer.map()?.fill(Pattern(held.len() as u64), 0);
            held.push(buffer);
        }
    }
    Ok(held)
}

fn check(held: &[Buffer]) -> Result<()> {
    for (index, buffer) in held.iter().enumerate() {
        buffer.map()?.check(Pattern(index as u64), 0)?;
    }
    Ok(())
}

// Buffers of all heaps come from it, without an attempt to migrate pages or a request to an area.
// It is filled again once it is below its low mark.
fn used() -> Result<()> {
    let heaps: Vec<_> = HEAPS.into_iter().filter(exists).collect();
    let filled = Filled::new()?;
    let before = reserve()?;
    let attempts = Attempts::from_now_on()?;
    let held = take(&heaps[..1])?;
    // Above the low mark nothing happens.
    ensure!(attempts.count()? == 0, "memory was searched");
    ensure!(reserve()? < before - 12 * MIB, "it was not used");
    let more = take(&heaps[1..])?;
    drop(attempts);
    check(&held)?;
    check(&more)?;
    wait_until("not filled again", |reserve| reserve >= SIZE / 4 * 3)?;
    drop((held, more, filled));
    ensure!(reserve()? == 0, "something is left");
    Ok(())
}

// A page cache that fills the rest of memory makes no difference, neither for those that it has nor
// for its being filled.
fn after_files() -> Result<()> {
    let filled = Filled::new()?;
    let files = Files::fill(96 * MIB)?;
    ensure!(reserve()? >= SIZE, "files took {} MiB", reserve()? / MIB);
    let attempts = Attempts::from_now_on()?;
    let begin = Instant::now();
    let held = take(&["cma"])?;
    diagnose(&format!("{:?} for {} buffers", begin.elapsed(), held.len()));
    ensure!(attempts.count()? == 0, "memory was searched");
    drop(attempts);
    check(&held)?;
    drop(files);
    drop((held, filled));
    Ok(())
}

// So does one that the kernel can reclaim: the reserve stays, and is filled again in its place.
fn page_cache() -> Result<()> {
    let filled = Filled::new()?;
    let cache = PageCache::fill(64 * MIB)?;
    diagnose(&format!(
        "{} MiB free, {} MiB reserved",
        memory::meminfo("MemFree")? / MIB,
        reserve()? / MIB
    ));
    ensure!(reserve()? >= SIZE, "files took {} MiB", reserve()? / MIB);
    let attempts = Attempts::from_now_on()?;
    let held = take(&["cma"])?;
    ensure!(attempts.count()? == 0, "memory was searched");
    drop(attempts);
    let more = take(&["cma", "rk-dma-heap-cma"])?;
    cache.read(64 * MIB)?;
    wait_until("not filled again", |reserve| reserve >= SIZE / 4 * 3)?;
    check(&held)?;
    check(&more)?;
    drop(cache);
    drop((held, more, filled));
    Ok(())
}

// What a process wrote is gone when the memory is handed out again.
fn zeroed_again() -> Result<()> {
    let _filled = Filled::new()?;
    let heap = Heap::open("cma")?;
    for round in 0..6 {
        let mut held = Vec::new();
        while held.len() < 7 {
            let buffer = allocate(&heap, 12 * MIB)?;
            buffer.map()?.check_zero()?;
            buffer.map()?.fill(Pattern(round), 0);
            held.push(buffer);
        }
        drop(held);
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    Ok(())
}

// While it is being filled, requests do not fail.
fn meanwhile() -> Result<()> {
    let heap = Heap::open("cma")?;
    for round in 0..12 {
        set(SIZE)?;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(400) {
            let size = [4096, MIB, 3 * MIB, 40 * MIB][round % 4];
            drop(allocate(&heap, size).with_context(|| format!("round {round}: {size}"))?);
        }
        set(0)?;
        ensure!(reserve()? == 0, "something is left");
    }
    Ok(())
}

// 0 gives all back at once, also while buffers of it are in use.
fn off() -> Result<()> {
    let before = memory::free_and_reclaimable()?;
    let filled = Filled::new()?;
    let held = take(&["cma"])?;
    drop(filled);
    ensure!(reserve()? == 0, "something is left");
    check(&held)?;
    drop(held);
    ensure!(reserve()? == 0, "something was added");
    memory::is_back(before, 4 * MIB)
}

// The module is unloaded with a full reserve, and loaded with one, also with more than it may have.
fn unload() -> Result<()> {
    const MODULE: &str = "rk_dma_heap";
    set(0)?;
    client::unload().ok();
    let before = memory::free_and_reclaimable()?;
    set(SIZE)?;
    wait_until("not filled", |reserve| reserve >= SIZE)?;
    let reload = |parameters: &str| -> Result<()> {
        eventually(Duration::from_secs(5), || {
            Ok(kernel_module::unload(MODULE)?)
        })?;
        let after = memory::free_and_reclaimable()?;
        ensure!(after + 4 * MIB > before, "{before} before, {after} after");
        kernel_module::load(Path::new("/lib/modules/rk_dma_heap.ko"), parameters)??;
        Ok(())
    };
    reload("contig_reserve_mib=64")?;
    wait_until("not filled", |reserve| reserve >= 64 * MIB)?;
    reload("contig_reserve_mib=100000 contig_max_percent=5")?;
    let size = CONTIG_RESERVE.get()?;
    ensure!(
        size <= memory::total()? / 20 + 8 * MIB && size > 0,
        "{size}"
    );
    reload("contig_reserve_mib=10 contig_max_percent=0").ok();
    reload("")
}
