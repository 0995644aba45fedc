// SPDX-License-Identifier: GPL-2.0

//! The memory that a system heap leaves to the kernel: a buffer that does not fit is refused at
//! once, and the OOM killer never runs because of one.

use crate::figures;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::module::Module;
use guest_support::process::Child;
use guest_support::{
    memory,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add_within(
        Duration::from_secs(120),
        "reserve/small-buffers-with-little-memory",
        small_buffers_with_little_memory,
    );
    tests.add_within(
        Duration::from_secs(120),
        "reserve/small-buffers-until-none-is-left",
        small_buffers_until_none_is_left,
    );
    tests.add_within(
        Duration::from_secs(120),
        "reserve/large-buffers-fail-at-once",
        large_buffers_fail_at_once,
    );
}

/// Without pools, and without a limit of the heaps that is lower than the free memory.
const PARAMETERS: &str = "max_percent=100 pool_max_mib=0";

/// Returns the sum of a watermark over all zones, in bytes, without a temporary boost.
fn watermark(name: &str) -> Result<usize> {
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let field = |name: &str| -> usize {
        let values = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then(|| words.next())?
        });
        values.filter_map(|value| value.parse::<usize>().ok()).sum()
    };
    // Lines of the zones are `min 5632`, those of the per-CPU lists `high: 186`.
    Ok(field(name) * page_size())
}

/// Returns the free memory that heaps may use.
fn free() -> Result<usize> {
    Ok(memory::meminfo("MemFree")?.saturating_sub(memory::meminfo("CmaFree")?))
}

/// Uses up memory until `target` bytes are left.
fn fill(target: usize) -> Result<Vec<Mapping>> {
    fill_by(target, free)
}

/// Uses up memory until `free` returns `target` bytes.
fn fill_by(target: usize, free: impl Fn() -> Result<usize>) -> Result<Vec<Mapping>> {
    let mut held = Vec::new();
    loop {
        std::fs::write("/proc/sys/vm/stat_refresh", "1")?;
        let left = free()?.saturating_sub(target);
        if left < 16 * page_size() {
            return Ok(held);
        }
        let piece = Mapping::anonymous((left / 2).next_multiple_of(page_size()))?;
        for offset in (0..piece.len()).step_by(page_size()) {
            piece.write(offset, 1);
        }
        held.push(piece);
    }
}

/// The heaps of the module that have a pool.
fn heaps() -> Result<Vec<String>> {
    let all = figures::read()?.into_iter().map(|(name, _)| name);
    Ok(all.filter(|name| name.starts_with("system")).collect())
}

fn report(what: &str) -> Result<()> {
    diagnose(&format!(
        "{what}: {} KiB free, watermarks {} {} {} KiB, boost {} KiB",
        free()? >> 10,
        watermark("min")? >> 10,
        watermark("low")? >> 10,
        watermark("high")? >> 10,
        watermark("boost")? >> 10,
    ));
    Ok(())
}

/// The free memory on a machine of 1 GiB with which a small buffer must succeed.
const LITTLE: usize = 55_000_000;

/// Maximum time for most small buffers. The machine may be busy during some.
const MAX_TIME_SMALL: Duration = Duration::from_millis(100);

/// Allocates small buffers from each heap, all of which must succeed at once.
fn allocate_small(what: &str) -> Result<()> {
    report(what)?;
    for name in heaps()? {
        let heap = Heap::open(&name)?;
        let mut times = Vec::new();
        for size in [60 << 10, page_size(), 128 << 10] {
            for round in 0..16 {
                let start = Instant::now();
                let buffer = heap.allocate(size);
                let elapsed = start.elapsed();
                drop(buffer.with_context(|| {
                    report("failed").ok();
                    format!("{name}: {size} bytes, round {round}, after {elapsed:?}")
                })?);
                times.push(elapsed);
            }
        }
        times.sort();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        diagnose(&format!("{name}: median {median:?}, longest {longest:?}"));
        ensure!(
            median < MAX_TIME_SMALL * checkers::timeout_factor(),
            "{name}: half of the small buffers took {median:?} or longer"
        );
    }
    report(what)
}

fn small_buffers_with_little_memory() -> Result<()> {
    memory::lock_this_process()?;
    let module = Module::load(PARAMETERS)?;
    let kills = memory::oom_kills()?;
    // Some of the free memory is in areas, where only movable pages can be.
    // Below its watermarks the kernel kills a process that uses up memory. They are higher on
    // amd64, and the zone DMA is not for processes.
    let target = LITTLE.max(watermark("high")? + (16 << 20));
    let held = fill_by(target, || memory::meminfo("MemFree"))?;
    allocate_small("filled, but for some of the areas")?;
    drop(held);
    ensure!(memory::oom_kills()? == kills, "a process was killed");
    drop(module);
    Ok(())
}

/// The number of processes that are started while no small buffer can be allocated.
const PROCESSES: usize = 8;

/// More buffers than the memory has pages for.
const MAX_BUFFERS: usize = 1 << 16;

/// The memory that each of them writes to.
const TOUCHED: usize = 256 << 10;

// Each buffer is small, but together they must leave the kernel what a process needs to start.
fn small_buffers_until_none_is_left() -> Result<()> {
    memory::lock_this_process()?;
    let module = Module::load(PARAMETERS)?;
    let kills = memory::oom_kills()?;
    let heaps = heaps()?;
    let heaps = heaps.iter().map(|name| Heap::open(name));
    let heaps = heaps.collect::<Result<Vec<_>>>()?;
    let held = fill(LITTLE * 3 / 2)?;
    report("filled")?;
    setrlimit(Resource::RLIMIT_NOFILE, MAX_BUFFERS as _, MAX_BUFFERS as _)?;
    let mut buffers = Vec::with_capacity(MAX_BUFFERS);
    for round in 0..3 {
        for size in [64 << 10, 16 << 10, 4 << 10] {
            for heap in &heaps {
                let end = loop {
                    match heap.allocate_with(&AllocationData::read_write(size)) {
                        Ok(buffer) => buffers.push(buffer),
                        Err(errno) => break errno,
                    }
                };
                ensure!(end == Errno::ENOMEM, "{size} bytes failed with {end:?}");
            }
        }
        report(&format!("round {round}: {} buffers", buffers.len()))?;
        for _ in 0..PROCESSES {
            let touch = || {
                let memory = Mapping::anonymous(TOUCHED)?;
                memory.touch(page_size());
                Ok(())
            };
            Child::run(touch)?.succeed()?;
        }
        ensure!(
            memory::oom_kills()? == kills,
            "round {round}: a process was killed"
        );
    }
    ensure!(!buffers.is_empty(), "no buffer was allocated");
    drop((buffers, held));
    drop(module);
    Ok(())
}

/// Maximum time for a request that does not fit.
const MAX_TIME: Duration = Duration::from_millis(1000);

/// Maximum time for a request of more than all free memory, for which nothing is allocated.
const MAX_TIME_AT_ONCE: Duration = Duration::from_millis(20);

// The request is within the limit of the heaps, but there is not as much memory.
fn large_buffers_fail_at_once() -> Result<()> {
    memory::lock_this_process()?;
    let module = Module::load(PARAMETERS)?;
    let kills = memory::oom_kills()?;
    let held = fill(watermark("high")? + memory::total()? / 8)?;
    report("filled")?;
    for name in heaps()? {
        let heap = Heap::open(&name)?;
        let now = free()?;
        // KASAN keeps freed slab objects in a quarantine, and frees them when memory is short.
        let quarantine = match checkers::enabled() {
            true => now / 8,
            false => 0,
        };
        for (len, max) in [
            (now + quarantine, MAX_TIME),
            (now / 4 * 5, MAX_TIME_AT_ONCE),
            (memory::total()? / 2, MAX_TIME_AT_ONCE),
        ] {
            let elapsed = heap.refusal(len as u64).with_context(|| name.clone())?;
            diagnose(&format!(
                "{name}: {} of {} free KiB refused after {elapsed:?}",
                len >> 10,
                now >> 10
            ));
            ensure!(
                elapsed < max * checkers::timeout_factor(),
                "{name}: {len} bytes were refused after {elapsed:?}"
            );
        }
    }
    report("refused")?;
    drop(held);
    ensure!(memory::oom_kills()? == kills, "a process was killed");
    drop(module);
    Ok(())
}
