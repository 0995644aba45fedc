// SPDX-License-Identifier: GPL-2.0

//! When memory is short, the pools shrink before the OOM killer runs.

use crate::figures::Figures;
use crate::trace::Trace;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::module::Module;
use guest_support::process::{
    Child,
    Verdict, //
};
use guest_support::{
    memory,
    page_size, //
};
use nix::sys::signal::Signal;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("pressure/drop-caches", drop_caches);
    tests.add(
        "pressure/drop-caches-with-backlog",
        drop_caches_with_backlog,
    );
    tests.add_within(Duration::from_secs(90), "pressure/eater", eater);
    tests.add_within(
        Duration::from_secs(120),
        "pressure/large-buffers-need-it",
        large_buffers_need_it,
    );
    tests.add("pressure/small-buffers-need-it", small_buffers_need_it);
}

const FILL: usize = 240 * MIB;

/// The largest run of pages in a pool, with 4 KiB pages.
const RUN: usize = 2 * MIB;

/// Large pools, so that there is memory to reclaim.
const PARAMETERS: &str = "pool_max_percent=60";

/// Allocates `bytes`, spread over all heaps, and frees them again.
fn pass_through(bytes: usize) -> Result<()> {
    let buffers = HEAPS.map(|name| Heap::open(name)?.allocate(bytes / HEAPS.len()));
    buffers.into_iter().collect::<Result<Vec<_>>>().map(drop)
}

fn fill() -> Result<Figures> {
    pass_through(FILL)?;
    let full = Figures::settled()?;
    ensure!(
        full.pooled == FILL,
        "{} of {FILL} bytes are pooled",
        full.pooled
    );
    Ok(full)
}

fn report(what: &str) -> Result<()> {
    let figures = Figures::total()?;
    diagnose(&format!(
        "{what}: {} KiB pooled, {} KiB on the backlog, {} KiB reclaimed so far, {} KiB free",
        figures.pooled >> 10,
        figures.backlog >> 10,
        figures.reclaimed >> 10,
        memory::meminfo("MemFree")? >> 10
    ));
    Ok(())
}

fn drop_caches() -> Result<()> {
    let module = Module::load(PARAMETERS)?;
    for round in 1..=3 {
        let full = fill()?;
        report(&format!("full, round {round}"))?;
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        let empty = Figures::total()?;
        report("dropped")?;
        ensure!(empty.kept() == 0, "the pools are not empty: {empty:?}");
        ensure!(
            empty.reclaimed == full.reclaimed + FILL,
            "not {FILL} bytes were reclaimed: {full:?} became {empty:?}"
        );
    }
    module.unload()
}

fn drop_caches_with_backlog() -> Result<()> {
    let module = Module::load(PARAMETERS)?;
    pass_through(FILL)?;
    let before = Figures::total()?;
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    let after = Figures::settled()?;
    report("dropped, then settled")?;
    ensure!(
        before.backlog > FILL / 2,
        "most of the backlog was prepared before it could be reclaimed: {before:?}"
    );
    // The run that the worker is preparing at that time may stay.
    ensure!(after.kept() <= RUN, "the pools are not empty: {after:?}");
    module.unload()
}

/// Allocates and touches memory page by page until the OOM killer ends the process.
fn eat() -> Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "1000")?;
    let mut eaten = Vec::new();
    loop {
        let piece = Mapping::anonymous(16 * MIB)?;
        for offset in (0..piece.len()).step_by(page_size()) {
            piece.write(offset, 1);
        }
        eaten.push(piece);
    }
}

// The order of trace events shows how much the shrinker had freed when the kernel selected the
// victim.
fn eater() -> Result<()> {
    memory::lock_this_process()?;
    let module = Module::load(PARAMETERS)?;
    let kills = memory::oom_kills()?;
    let full = fill()?;
    report("full")?;
    let trace = Trace::of(&["rk_dma_heap/rk_dma_heap_shrink", "oom/mark_victim"])?;
    let mut eater = Child::run(eat)?;
    let pid = eater.pid();
    let verdict = eater
        .wait(Duration::from_secs(80))?
        .context("the eater was not killed")?;
    let after = Figures::total()?;
    report("after the kill")?;
    let events = trace.take()?;

    ensure!(
        verdict == Verdict::Killed(Signal::SIGKILL),
        "the eater ended in another way: {verdict:?}"
    );
    let killed = memory::oom_kills()? - kills;
    ensure!(
        killed == 1,
        "{killed} processes were killed, not the eater alone"
    );
    let kill = events
        .iter()
        .position(|event| event.name == "mark_victim")
        .context("the kernel selected no victim")?;
    let victim = events[kill].number("pid")?;
    ensure!(
        victim == pid.as_raw() as u64,
        "process {victim} was killed, not the eater"
    );
    let before_kill = events[..kill]
        .iter()
        .filter(|event| event.name == "rk_dma_heap_shrink");
    let freed = before_kill
        .map(|event| Ok(event.number("freed")? as usize * page_size()))
        .sum::<Result<usize>>()?;
    diagnose(&format!(
        "{} of {} KiB were reclaimed before the kill",
        freed >> 10,
        full.pooled >> 10
    ));
    // Less than one batch of the shrinker (128 objects) may be left.
    ensure!(
        freed + RUN >= full.pooled,
        "only {freed} of {} bytes were reclaimed before the kill",
        full.pooled
    );
    ensure!(after.kept() <= RUN, "the pools are not empty: {after:?}");

    drop(trace);
    let again = {
        pass_through(FILL)?;
        Figures::settled()?
    };
    report("filled again")?;
    ensure!(
        again.pooled >= FILL - RUN,
        "{} of {FILL} bytes are pooled again",
        again.pooled
    );
    module.unload()
}

// The memory in one heap's pool is available to the other heaps.
fn large_buffers_need_it() -> Result<()> {
    let module = Module::load("pool_max_percent=70")?;
    let kills = memory::oom_kills()?;
    // DMA debugging keeps records of cleaned pages for a while, which need memory.
    let share = if checkers::enabled() { 4 } else { 2 };
    let size = memory::total()? / share / MIB * MIB;
    for name in HEAPS {
        let buffer = Heap::open(name)?.allocate(size);
        drop(buffer.with_context(|| format!("{name}: {:?}", Figures::total()))?);
    }
    report(&format!("after {} MiB from each heap in turn", size / MIB))?;
    ensure!(memory::oom_kills()? == kills, "a process was killed");
    module.unload()
}

// Slightly above its watermarks the kernel does not call shrinkers.
fn small_buffers_need_it() -> Result<()> {
    const PIECE: usize = 4 * MIB;
    let module = Module::load(PARAMETERS)?;
    let full = fill()?;
    report("full")?;
    let free = memory::meminfo("MemFree")? - memory::meminfo("CmaFree")?;
    let wanted = free + full.pooled / 2;
    let heap = Heap::open(HEAPS[0])?;
    let mut held = Vec::new();
    while held.len() * PIECE < wanted {
        let buffer = heap.allocate(PIECE);
        held.push(buffer.with_context(|| {
            format!(
                "{} of {} MiB: {:?}",
                held.len() * PIECE / MIB,
                wanted / MIB,
                Figures::total()
            )
        })?);
    }
    report(&format!("{} MiB of one heap", wanted / MIB))?;
    drop((held, heap));
    module.unload()
}
