// SPDX-License-Identifier: GPL-2.0

//! The counters in different files are the same, and are consistent.

use crate::figures::{
    self,
    Figures, //
};
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::cpu::bind_to_cpu;
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::retry::eventually;
use guest_support::{
    memory,
    page_size, //
};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("totals/files-agree", files_agree);
    tests.add("totals/sums-add-up", sums_add_up);
    tests.add(
        "totals/every-cpu-gets-what-is-pooled",
        every_cpu_gets_what_is_pooled,
    );
    tests.add("totals/memory-is-where-they-say", memory_is_where_they_say);
}

const FILES: [&str; 2] = [
    "/sys/kernel/dma_heap/total_pools_kb",
    "/sys/kernel/rk_dma_heap/rk_total_pools_kb",
];

/// Reads a file that must consist of a decimal number and a newline.
fn read_number(file: &str) -> Result<usize> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let digits = text.strip_suffix('\n');
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.with_context(|| format!("{file} has {text:?}, expected a number"))?;
    Ok(digits.parse()?)
}

fn check_files() -> Result<usize> {
    let settled = Figures::settled()?;
    for file in FILES {
        let kib = read_number(file)?;
        ensure!(
            kib * 1024 == settled.pooled,
            "{file}: {kib} KiB, but the heaps' pools have {} bytes",
            settled.pooled
        );
        let mode = std::fs::metadata(file)?.permissions().mode() & 0o7777;
        ensure!(mode == 0o444, "{file} has mode {mode:o}, expected 444");
    }
    Ok(settled.pooled)
}

fn files_agree() -> Result<()> {
    let module = Module::load("")?;
    ensure!(check_files()? == 0, "new pools are not empty");
    for (index, name) in HEAPS.into_iter().enumerate() {
        let heap = Heap::open(name)?;
        let before = check_files()?;
        let size = (index + 1) * (3 << 16);
        drop(heap.allocate(size)?);
        let after = check_files()?;
        ensure!(
            after == before + size,
            "{name}: {size} bytes were freed, but {before} became {after}"
        );
        let own = Figures::of(name)?.pooled;
        ensure!(own == size, "{name}: {own} of {size} bytes are pooled");
    }
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    ensure!(check_files()? == 0, "not empty after reclaim");
    module.unload()
}

// All memory of a heap is allocated, pooled or on the backlog at any time.
fn sums_add_up() -> Result<()> {
    let module = Module::load("pool_max_percent=50")?;
    for name in HEAPS {
        let heap = Heap::open(name)?;
        let mut random = fastrand::Rng::with_seed(2);
        let mut buffers = Vec::new();
        let mut bytes = 0;
        for _ in 0..40 {
            let pages = random.usize(1..1000);
            buffers.push(heap.allocate(pages * page_size())?);
            bytes += pages * page_size();
        }
        let full = Figures::of(name)?;
        ensure!(
            full.buffers == 40 && full.allocated == bytes && full.kept() == 0,
            "{name}: 40 buffers of {bytes} bytes in total: {full:?}"
        );
        while !buffers.is_empty() {
            buffers.truncate(buffers.len() / 2);
            let left = buffers.iter().map(|b| b.size()).sum::<Result<usize>>()?;
            Figures::settled()?;
            let now = Figures::of(name)?;
            ensure!(
                now.buffers == buffers.len() && now.allocated == left,
                "{name}: expected {} buffers of {left} bytes: {now:?}",
                buffers.len()
            );
            ensure!(
                now.allocated + now.kept() == bytes,
                "{name}: some of {bytes} bytes are in no counter: {now:?}"
            );
        }
        // An allocation from the pool has no misses.
        let before = Figures::of(name)?;
        drop(heap.allocate(bytes / 2 / MIB * MIB)?);
        let after = Figures::of(name)?;
        ensure!(
            after.misses == before.misses && after.hits > before.hits,
            "{name}: pooled memory was not used: {before:?}, then {after:?}"
        );
        Figures::settled()?;
        std::fs::write("/proc/sys/vm/drop_caches", "2")?;
        let empty = Figures::of(name)?;
        ensure!(
            empty.kept() == 0 && empty.reclaimed == bytes,
            "{name}: not all of {bytes} bytes were reclaimed: {empty:?}"
        );
    }
    let (listed, heaps) = (figures::read()?.len(), heap::names()?.len());
    ensure!(listed == heaps, "{listed} heaps of {heaps} are listed");
    module.unload()
}

// Single pages are the difficult case: they are freed on one CPU and allocated on another. Each CPU
// may keep a few.
fn every_cpu_gets_what_is_pooled() -> Result<()> {
    const PAGES: usize = 500;
    const MAX_KEPT: usize = 64;
    let module = Module::load("")?;
    let cpus = std::thread::available_parallelism()?.get();
    for name in HEAPS {
        let heap = Heap::open(name)?;
        let single = || -> Result<Vec<Buffer>> { (0..PAGES).map(|_| heap.allocate(1)).collect() };
        // Freed one by one, and by the worker, which runs on any CPU.
        for whole in [false, true] {
            std::fs::write("/proc/sys/vm/drop_caches", "2")?;
            bind_to_cpu(0)?;
            if whole {
                // Too small for a larger run.
                let part = 15 * page_size();
                let parts = (0..PAGES.div_ceil(15)).map(|_| heap.allocate(part));
                drop(parts.collect::<Result<Vec<_>>>()?);
            } else {
                drop(single()?);
            }
            let pooled = Figures::settled()?;
            ensure!(pooled.pooled >= PAGES * page_size(), "{name}: {pooled:?}");
            for cpu in 0..cpus {
                bind_to_cpu(cpu)?;
                let before = Figures::of(name)?;
                let buffers = single()?;
                let after = Figures::of(name)?;
                let missed = after.misses - before.misses;
                ensure!(
                    missed <= MAX_KEPT,
                    "{name}: CPU {cpu} missed {missed} pages of {PAGES}, of which {} KiB were \
                     pooled; by the worker: {whole}",
                    before.pooled >> 10
                );
                drop(buffers);
            }
        }
    }
    module.unload()
}

// Compares the counters with the kernel's own count of free memory. The tolerance, a twentieth of
// the allocated memory, is for the kernel's other caches.
fn memory_is_where_they_say() -> Result<()> {
    const SIZE: usize = 100 * MIB;
    const TOLERANCE: usize = SIZE / 20;
    let module = Module::load("pool_max_percent=50")?;
    let free = memory::free;
    let check_about = |what: &str, found: usize, expected: usize| -> Result<()> {
        ensure!(
            found.abs_diff(expected) <= TOLERANCE,
            "{what}: {} KiB free, expected about {}",
            found >> 10,
            expected >> 10
        );
        Ok(())
    };
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    let before = free()?;
    let buffer = Heap::open("system")?.allocate(SIZE)?;
    check_about("allocated", free()?, before - SIZE)?;
    drop(buffer);
    Figures::settled()?;
    check_about("pooled", free()?, before - SIZE)?;
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    eventually(Duration::from_secs(2), || {
        check_about("reclaimed", free()?, before)
    })?;
    module.unload()
}
