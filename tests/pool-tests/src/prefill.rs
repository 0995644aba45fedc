// SPDX-License-Identifier: GPL-2.0

//! Pages that the pool of `system` has ready in advance.

use crate::figures::Figures;
use crate::MIB;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::checkers;
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::memory::{
    self,
    ShortCpuLists, //
};
use guest_support::mib_file::POOL_PREFILL;
use guest_support::module::Module;
use guest_support::page_cache::PageCache;
use guest_support::page_size;
use guest_support::retry::eventually;
use nix::errno::Errno;
use std::time::Duration;

/// The size in these tests.
const SIZE: usize = 64 * MIB;

/// What the thread may add while the size is being set.
const RUN: usize = 2 * MIB;

/// The limit of the pools permits more.
const PARAMETERS: &str = "max_percent=100 pool_max_percent=50";

/// Time for a test that fills memory.
const LIMIT: Duration = Duration::from_secs(240);

/// Within this time the thread reaches the mark.
const FILL: Duration = Duration::from_secs(60);

pub fn add(tests: &mut Tests) {
    tests.add_within(LIMIT, "prefill/ready", ready);
    tests.add_within(LIMIT, "prefill/refused", refused);
    tests.add_within(LIMIT, "prefill/given-back", given_back);
    tests.add_within(LIMIT, "prefill/other-heap", other_heap);
    tests.add_within(LIMIT, "prefill/page-cache", page_cache);
    tests.add_within(LIMIT, "prefill/process", process);
    tests.add_within(LIMIT, "prefill/parameter", parameter);
}

fn pool() -> Result<Figures> {
    Figures::of("system")
}

fn set(size: usize) -> Result<()> {
    POOL_PREFILL.set(size)
}

fn wait_for(size: usize) -> Result<()> {
    eventually(FILL, || {
        let pooled = pool()?.pooled;
        ensure!(pooled >= size, "{} KiB are ready", pooled >> 10);
        Ok(())
    })
}

// Buffers of all sizes find each of their runs ready, and zeroed. Below the low mark the pool is
// filled again.
fn ready() -> Result<()> {
    let _module = Module::load(PARAMETERS)?;
    let before = pool()?;
    ensure!(before.pooled == 0 && POOL_PREFILL.get()? == 0);
    set(SIZE)?;
    ensure!(POOL_PREFILL.get()? == SIZE);
    wait_for(SIZE)?;
    let filled = pool()?;
    ensure!(filled.pooled < SIZE + 2 * RUN, "{filled:?}");
    ensure!((filled.hits, filled.misses) == (before.hits, before.misses));
    let heap = Heap::open("system")?;
    let mut held = Vec::new();
    for size in [page_size(), 5 * page_size(), 68 << 10, 3 * MIB + (68 << 10)] {
        let buffer = heap.allocate(size)?;
        buffer.map()?.check_zero()?;
        held.push(buffer);
    }
    let used = pool()?;
    ensure!(used.misses == filled.misses, "not ready: {used:?}");
    ensure!(used.hits > filled.hits + 8, "{used:?}");
    for _ in 0..SIZE / MIB / 4 {
        held.push(heap.allocate(3 * MIB)?);
    }
    wait_for(SIZE / 4 * 3)?;
    drop(held);
    set(0)?;
    ensure!(pool()?.kept() <= RUN, "{:?}", pool()?);
    Ok(())
}

// What is no number, or beyond the limit, is refused and changes nothing.
fn refused() -> Result<()> {
    let _module = Module::load("pool_max_mib=8 pool_prefill_mib=3")?;
    for text in ["x", "-1", "1.5", "4294967296", "4294967295", "9"] {
        expect_errno(text, POOL_PREFILL.write(text), Errno::EINVAL)?;
        ensure!(POOL_PREFILL.get()? == 3 * MIB);
    }
    set(8 * MIB)
}

// Nothing is lost, whether the size is set to 0 or the module is unloaded.
fn given_back() -> Result<()> {
    let tolerance = checkers::tolerated(4 * MIB);
    let module = Module::load(PARAMETERS)?;
    let before = memory::free_and_reclaimable()?;
    set(SIZE)?;
    wait_for(SIZE)?;
    let free = memory::free()?;
    ensure!(free + SIZE - 8 * MIB < before, "it is not taken: {free}");
    set(SIZE / 2)?;
    let half = pool()?.kept();
    ensure!(half <= SIZE / 2 + RUN, "{half} are kept");
    set(0)?;
    memory::is_back(before, tolerance)?;
    set(SIZE)?;
    wait_for(SIZE)?;
    drop(module);
    memory::is_back(before, tolerance)
}

// A heap that does not use the pool has as much memory as without: what the pool has in advance is
// given back before a request fails.
fn other_heap() -> Result<()> {
    // Without giving way, 16 would be missing.
    const TOLERATED: usize = 8;
    let _module = Module::load(PARAMETERS)?;
    let _lists = ShortCpuLists::new()?;
    let killed = memory::oom_kills()?;
    let heap = Heap::open("system-dma32")?;
    // What the first count leaves in the heap's own pool is there in the others too.
    heap.exhaust(4 * MIB)?;
    let without = heap.exhaust(4 * MIB)?.len();
    set(SIZE)?;
    wait_for(SIZE)?;
    let before = pool()?;
    let held = heap.exhaust(4 * MIB)?;
    let with = held.len();
    let after = pool()?;
    drop(held);
    diagnose(&format!(
        "{without} buffers without it, {with} with it, then {after:?}"
    ));
    ensure!(after.kept() <= SIZE / 8, "it keeps {after:?}");
    ensure!(
        after.reclaimed >= before.reclaimed + SIZE / 8 * 7,
        "{before:?}, then {after:?}"
    );
    ensure!(with + TOLERATED >= without, "{with} instead of {without}");
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    Ok(())
}

// A page cache that fills the rest of memory takes none of it, and gives way to it.
fn page_cache() -> Result<()> {
    let _module = Module::load(PARAMETERS)?;
    set(SIZE)?;
    wait_for(SIZE)?;
    let cache = PageCache::fill(64 * MIB)?;
    let filled = pool()?;
    let free = memory::meminfo("MemFree")?;
    diagnose(&format!("{} MiB free, {filled:?}", free / MIB));
    ensure!(filled.pooled >= SIZE, "files took some of it: {filled:?}");
    let heap = Heap::open("system")?;
    let mut held = Vec::new();
    for _ in 0..SIZE / MIB / 4 {
        held.push(heap.allocate(2 * MIB)?);
    }
    ensure!(pool()?.misses == filled.misses, "not ready: {:?}", pool()?);
    cache.read(64 * MIB)?;
    wait_for(SIZE / 4 * 3)
}

// A process that needs the memory gets it, and nobody is killed. The pool is filled again later.
fn process() -> Result<()> {
    let _module = Module::load(PARAMETERS)?;
    let killed = memory::oom_kills()?;
    set(SIZE)?;
    wait_for(SIZE)?;
    let size = memory::meminfo("MemFree")? + SIZE / 2;
    let mapping = Mapping::anonymous(size)?;
    let mut least = usize::MAX;
    for offset in (0..size).step_by(page_size()) {
        mapping.write(offset, 1);
        if offset % MIB == 0 {
            least = least.min(pool()?.pooled);
        }
    }
    diagnose(&format!("{} MiB are left", least / MIB));
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    ensure!(least < SIZE / 8 * 7, "{} MiB were kept", least / MIB);
    drop(mapping);
    wait_for(SIZE / 4 * 3)
}

// More than the limit of the pools permits is capped at load, and told.
fn parameter() -> Result<()> {
    let module = Module::load("pool_max_mib=8 pool_prefill_mib=9000")?;
    ensure!(POOL_PREFILL.get()? == 8 * MIB);
    wait_for(7 * MIB)?;
    ensure!(pool()?.kept() <= 8 * MIB);
    drop(module);
    let _module = Module::load("pool_max_mib=0 pool_prefill_mib=1")?;
    ensure!(POOL_PREFILL.get()? == 0);
    Ok(())
}
