// SPDX-License-Identifier: GPL-2.0

//! Everything at once for as long as one likes, with memory short again and again. After each round
//! all comes to rest, and what was lost by then is told: a leak, however small, shows as a drift.

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

/// How long everything happens before it comes to rest.
const ROUND: Duration = Duration::from_secs(60);

/// What the kernel may have taken for itself by the end.
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
        // Coming to rest takes its time as well.
        2 * duration + Duration::from_secs(120),
        "soak/everything",
        move || everything(duration),
    );
}

/// Out of memory is an answer here; any other failure is none.
fn may_be_short<T>(answer: nix::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOMEM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Buffers of any size from any heap, written and read.
fn buffers(seed: u64, until: Instant) -> Result<()> {
    let names = heap::names()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut held = Vec::new();
    while Instant::now() < until {
        let heap = Heap::open(&names[random.usize(0..names.len())])?;
        let most = 1 << random.usize(0..=10);
        let size = random.usize(1..=most) * page_size();
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

/// What drivers do: buffers and page arrays through the kernel's interface.
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

/// Takes most of what is free, uses it, and gives it back.
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
            .context("a process does not come to an end")?;
        ensure!(verdict == Verdict::Passed, "{verdict:?}");
    }
    Ok(())
}

fn everything(duration: Duration) -> Result<()> {
    let _module = Module::load("pool_max_percent=30")?;
    client::load("")?;
    guest_support::allocator::load()?;
    // Caches of the kernel fill up at first; that is no loss.
    round(0, Duration::from_secs(10))?;
    Figures::settled()?;
    let before = memory::free_and_reclaimable()? as isize;
    let start = Figures::total()?;
    let end = Instant::now() + duration;
    let (mut number, mut drift) = (0, 0);
    diagnose("minutes  runs-from-pools  runs-not  reclaimed-MiB  slab-KiB  lost-KiB");
    while Instant::now() < end {
        number += 1;
        round(number, ROUND.min(duration))?;
        let now = Figures::settled()?;
        for (name, figures) in figures::read()? {
            ensure!(
                figures.buffers == 0 && figures.allocated == 0,
                "{name}: not all came back: {figures:?}"
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
    ensure!(drift <= TOLERANCE, "{} KiB are gone", drift / 1024);
    Ok(())
}
