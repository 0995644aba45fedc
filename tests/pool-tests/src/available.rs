// SPDX-License-Identifier: GPL-2.0

//! The kernel counts what the pools keep, and the ranges of contiguous heaps that are kept, as
//! reclaimable and available memory.

use crate::figures::{
    self,
    Figures, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::heap::Heap;
use guest_support::kept_ranges::KEEP_TIME;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::module::{
    is_loaded,
    Module, //
};
use guest_support::page_size;
use guest_support::process::Skipped;
use guest_support::retry::{
    self,
    eventually, //
};
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("available/pools", pools);
    tests.add("available/small-buffers", small_buffers);
    tests.add("available/cached-ranges", cached_ranges);
}

const PARAMETERS: &str = "pool_max_percent=60 pool_max_mib=1048576";

/// Returns the reclaimable memory that is neither page cache nor slab, in bytes. Nothing else in
/// the guest has such memory.
fn reclaimable() -> Result<usize> {
    // Folds the counters of all CPUs.
    std::fs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = std::fs::read_to_string("/proc/vmstat")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_kernel_misc_reclaimable "));
    let pages: usize = value.context("/proc/vmstat lacks a line")?.parse()?;
    Ok(pages * page_size())
}

/// Returns the heaps of the module that have a pool.
fn heaps() -> Result<Vec<String>> {
    let all = figures::read()?.into_iter().map(|(name, _)| name);
    Ok(all.filter(|name| name.starts_with("system")).collect())
}

/// The kernel's counter may differ by this, for each heap, until the pools are idle.
const BATCH: usize = 4 * MIB;

/// Maximum time until the pools are idle.
const IDLE: Duration = Duration::from_secs(5);

/// The part of reclaimable memory that `MemAvailable` does not count: up to the watermarks low.
fn not_available(reclaimable: usize) -> Result<usize> {
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let low: usize = text
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("low ")?
                .trim()
                .parse::<usize>()
                .ok()
        })
        .sum();
    Ok((reclaimable / 2).min(low * page_size()))
}

/// Loads the module and returns what is reclaimable with empty pools.
fn load() -> Result<(Module, usize)> {
    if is_loaded() {
        // The kernel cannot unload it.
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    }
    let before = reclaimable()?;
    Ok((Module::load(PARAMETERS)?, before))
}

/// Unloads the module, if the kernel supports that, and checks that nothing stays counted.
fn unload(module: Module, before: usize) -> Result<()> {
    match module.unload() {
        Err(error) if error.downcast_ref::<Skipped>().is_some() => {
            std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        }
        result => result?,
    }
    let after = reclaimable()?;
    ensure!(
        after == before,
        "{after} bytes are reclaimable after unloading, before {before}"
    );
    Ok(())
}

/// Compares the kernel's counter with what the heaps report. The counter follows when the thread
/// of the pools has nothing left to do, which is shortly after the backlog is empty.
fn check_exact(before: usize, what: &str) -> Result<Figures> {
    eventually(IDLE, || {
        let figures = Figures::settled()?;
        let counted = reclaimable()?;
        ensure!(
            counted == before + figures.kept(),
            "{what}: {counted} bytes are reclaimable, expected {before} and {figures:?}"
        );
        diagnose(&format!(
            "{what}: {} KiB kept, {} KiB reclaimable",
            figures.kept() >> 10,
            counted.saturating_sub(before) >> 10
        ));
        Ok(figures)
    })
}

fn pools() -> Result<()> {
    let (module, before) = load()?;
    let size = (96 * MIB).min(memory::total()? / 8 / MIB * MIB);
    for name in heaps()? {
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        let heap = Heap::open(&name)?;
        let available = memory::meminfo("MemAvailable")?;
        let buffer = heap.allocate(size)?;
        check_exact(before, &format!("{name}, allocated"))?;
        drop(buffer);
        // Just freed pages are in the backlog, and one run is in the hands of the thread.
        let figures = Figures::total()?;
        let counted = reclaimable()?;
        ensure!(
            counted + BATCH + 2 * MIB >= before + figures.kept().min(size),
            "{name}: {counted} bytes are reclaimable just after {size} bytes were freed"
        );
        let figures = check_exact(before, &format!("{name}, freed"))?;
        ensure!(figures.kept() >= size, "{name}: not kept: {figures:?}");
        let now = memory::meminfo("MemAvailable")? + not_available(size)?;
        diagnose(&format!(
            "{name}: MemAvailable and what it leaves out: {} KiB, before {} KiB",
            now >> 10,
            available >> 10
        ));
        ensure!(
            now + checkers::tolerated(4 * MIB) >= available,
            "{name}: {now} bytes are available after a buffer, before it {available}"
        );
        // A part of it is used again. Meanwhile the count may differ by a batch.
        let half = heap.allocate(size / 2)?;
        let (figures, counted) = (Figures::settled()?, reclaimable()?);
        ensure!(
            counted.abs_diff(before + figures.kept()) <= BATCH,
            "{name}: {counted} bytes are reclaimable, {figures:?}"
        );
        drop(half);
        check_exact(before, &format!("{name}, freed again"))?;
    }
    // The pools are still full.
    unload(module, before)
}

// Small buffers go to the pool of a CPU at once.
fn small_buffers() -> Result<()> {
    let (module, before) = load()?;
    for name in heaps()? {
        let heap = Heap::open(&name)?;
        for pages in [1, 3, 5, 15] {
            let buffers: Result<Vec<_>> = (0..200)
                .map(|_| heap.allocate(pages * page_size()))
                .collect();
            drop(buffers?);
        }
        // The thread makes the count exact.
        drop(heap.allocate(MIB)?);
        check_exact(before, &name)?;
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        check_exact(before, &format!("{name}, dropped"))?;
        drop(heap.allocate(MIB)?);
    }
    unload(module, before)
}

fn cached_ranges() -> Result<()> {
    let (module, before) = load()?;
    let heap = Heap::open("cma")?;
    // A range of RAM goes back to the kernel at once.
    let expected = match memory::meminfo("CmaTotal")? {
        0 => before,
        _ => before + MIB,
    };
    let nothing_kept = || {
        eventually(Duration::from_secs(5), || {
            let now = reclaimable()?;
            ensure!(
                now == before,
                "{now} bytes are reclaimable, before {before}"
            );
            Ok(())
        })
    };
    retry::before(KEEP_TIME, nothing_kept, || {
        let buffer = heap.allocate(MIB)?;
        ensure!(reclaimable()? == before, "a buffer counts as reclaimable");
        drop(buffer);
        let kept = reclaimable()?;
        ensure!(
            kept == expected,
            "{kept} bytes are reclaimable with a freed range, before {before}"
        );
        Ok(())
    })?;
    drop(heap.allocate(MIB)?);
    nothing_kept()?;
    drop(heap);
    unload(module, before)
}
