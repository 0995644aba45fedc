// SPDX-License-Identifier: GPL-2.0

//! Everything at once for a given time, with little memory again and again. After each round the
//! heaps become idle and the lost memory is printed: even a small leak shows as a drift.

use crate::figures::{
    self,
    Figures, //
};
use crate::{
    stress,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    Allocator,
    Interface, //
};
use guest_support::client;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::mib_file::CONTIG_RESERVE;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::process::{
    Child,
    Verdict, //
};
use nix::errno::Errno;
use std::fs;
use std::time::{
    Duration,
    Instant, //
};

/// Duration of a round.
const ROUND: Duration = Duration::from_secs(60);

/// Memory that the kernel may have allocated for itself by the end.
const TOLERANCE: isize = 8 * MIB as isize;

const NODES: &[&str] = &[
    "/proc/rk_dma_heap/heaps",
    "/proc/rk_dma_heap/rk-dma-heap-info",
    "/proc/rk_dmabuf/size",
    "/proc/rk_dmabuf/peak",
    "/proc/rk_dmabuf/dev",
    "/proc/rk_dmabuf/sgt",
    "/proc/rk_dmabuf/buffers",
];

pub fn add(tests: &mut Tests, minutes: u64) {
    let duration = Duration::from_secs(60 * minutes);
    tests.add_within(
        // Includes the time in which the heaps become idle.
        2 * duration + Duration::from_secs(120),
        "soak/everything",
        move || everything(duration),
    );
}

/// Accepts ENOMEM; any other failure is an error.
fn may_be_short<T>(answer: nix::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOMEM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Allocates buffers of any size from any heap, reads and writes them.
fn buffers(seed: u64, until: Instant) -> Result<()> {
    let names = heap::names()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut held = Vec::new();
    while Instant::now() < until {
        let heap = Heap::open(&names[random.usize(0..names.len())])?;
        let max = 1 << random.usize(0..=10);
        let size = random.usize(1..=max) * page_size();
        let data = heap::AllocationData::read_write(size as u64);
        if let Some(buffer) = may_be_short(heap.allocate_with(&data))? {
            if random.u8(0..4) == 0 {
                let mapping = buffer.map()?;
                mapping.check_zero_range(0, 8)?;
                mapping.check_zero_range(size - 8, 8)?;
                mapping.write(0, 1);
                mapping.write(size - 8, 1);
            }
            held.push(buffer);
        }
        while held.len() > 12 {
            held.swap_remove(random.usize(0..held.len()));
        }
    }
    Ok(())
}

/// Allocates buffers and page arrays like a driver, through the kernel interface.
fn drivers(until: Instant) -> Result<()> {
    let allocator = Allocator::open()?;
    let mut round = 0;
    while Instant::now() < until {
        round += 1;
        let size = (1 + round % 64) * page_size();
        let _buffer = may_be_short(allocator.buffer(
            Interface::Rockchip,
            "rk-dma-heap-cma",
            Some("soak"),
            size,
        ))?;
        let _pages = may_be_short(allocator.pages("rk-dma-heap-cma", None, size))?;
    }
    Ok(())
}

/// Allocates most of the available memory, touches it, and frees it.
fn eater(until: Instant) -> Result<()> {
    while Instant::now() < until {
        let size = memory::meminfo("MemAvailable")? / 10 * 8;
        let mapping = Mapping::anonymous(size)?;
        for offset in (0..mapping.len()).step_by(page_size()) {
            mapping.write(offset, 1);
            if Instant::now() >= until {
                break;
            }
        }
        drop(mapping);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn reader(until: Instant) -> Result<()> {
    while Instant::now() < until {
        for node in NODES {
            fs::read(node).with_context(|| format!("cannot read {node}"))?;
        }
        fs::write("/proc/rk_dmabuf/peak", "0")?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn round(number: u64, length: Duration) -> Result<()> {
    let until = Instant::now() + length;
    let seed = number * 10;
    CONTIG_RESERVE.set(64 * MIB)?;
    let mut workers = vec![
        Child::run(move || buffers(seed, until))?,
        Child::run(move || buffers(seed + 1, until))?,
        Child::run(move || stress::work(seed + 2, length))?,
        Child::run(move || drivers(until))?,
        Child::run(move || reader(until))?,
        Child::run(move || eater(until))?,
    ];
    for worker in &mut workers {
        let verdict = worker
            .wait(length + Duration::from_secs(60))?
            .context("a process does not finish")?;
        ensure!(verdict == Verdict::Passed, "{verdict:?}");
    }
    // All that was in it is free when this returns.
    CONTIG_RESERVE.set(0)?;
    Ok(())
}

/// Waits until the heaps are idle, for as long as their thread makes progress: with much memory, or
/// on a busy host, it zeroes for minutes.
fn settled() -> Result<Figures> {
    let mut before = usize::MAX;
    loop {
        let settled = Figures::settled();
        let backlog = Figures::total()?.backlog;
        if settled.is_ok() || backlog >= before {
            return settled;
        }
        before = backlog;
    }
}

fn everything(duration: Duration) -> Result<()> {
    let module = Module::load("pool_max_percent=30")?;
    client::load("")?;
    guest_support::allocator::load()?;
    // Caches of the kernel fill up at first; that is not a leak.
    round(0, Duration::from_secs(10))?;
    settled()?;
    let before = memory::free_and_reclaimable()? as isize;
    let start = Figures::total()?;
    let end = Instant::now() + duration;
    let (mut number, mut drift) = (0, 0);
    diagnose("minutes  runs-from-pools  runs-not  reclaimed-MiB  slab-KiB  lost-KiB");
    while Instant::now() < end {
        number += 1;
        round(number, ROUND.min(duration))?;
        let now = settled()?;
        for (name, figures) in figures::read()? {
            ensure!(
                figures.buffers == 0 && figures.allocated == 0,
                "{name}: not everything was freed: {figures:?}"
            );
        }
        drift = before - memory::free_and_reclaimable()? as isize;
        diagnose(&format!(
            "{number:>7}  {:>15}  {:>8}  {:>13}  {:>8}  {:>8}",
            now.hits - start.hits,
            now.misses - start.misses,
            (now.reclaimed - start.reclaimed) / MIB,
            memory::meminfo("SUnreclaim")? / 1024,
            drift / 1024,
        ));
    }
    ensure!(drift <= TOLERANCE, "{} KiB are lost", drift / 1024);
    // Tests that follow find it as it is after all this.
    std::mem::forget(module);
    Ok(())
}
