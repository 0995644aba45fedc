// SPDX-License-Identifier: GPL-2.0

//! Processes that are killed while they allocate.

use super::files::Files;
use super::frames::take_frames;
use super::{
    allocate,
    limit_beyond,
    of_areas,
    FRAME,
    MIB, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::process::{
    Child,
    Verdict, //
};
use nix::sys::signal::Signal;
use std::time::{
    Duration,
    Instant, //
};

// A process is killed in each phase of an allocation, and nothing is lost.
pub fn killed() -> Result<()> {
    const ROUNDS: u32 = 24;
    let files = Files::fill(memory::total()? / 2)?;
    files.thin_out()?;
    let before = memory::free_and_reclaimable()?;
    let size = of_areas()? + FRAME;
    let mut while_allocating = 0;
    for round in 0..ROUNDS {
        let mut child = Child::run(|| {
            let heap = Heap::open("cma")?;
            loop {
                heap.allocate(size)?;
            }
        })?;
        std::thread::sleep(Duration::from_millis(5) + Duration::from_micros(1300) * round);
        child.signal(Signal::SIGKILL)?;
        match child.wait(Duration::from_secs(20))? {
            Some(Verdict::Killed(Signal::SIGKILL)) => while_allocating += 1,
            other => anyhow::bail!("round {round}: {other:?}"),
        }
    }
    ensure!(while_allocating == ROUNDS);
    memory::is_back(before, 4 * MIB)?;
    files.check()?;
    // The limit counts nothing of them.
    drop(files);
    take_frames("cma").map(drop)
}

/// Fills memory with files of which every second one is removed, so that a large range can only be
/// had by moving the others.
fn fragmented() -> Result<Files> {
    let files = Files::fill(memory::total()? / 12)?;
    files.thin_out()?;
    Ok(files)
}

// A process that waits for another one's attempt dies before that ends.
pub fn killed_while_waiting() -> Result<()> {
    // The other one may be done too early on a machine that runs the waiter late.
    const MAX_ROUNDS: u32 = 10;
    let size = limit_beyond()? / 4 * 3 / MIB * MIB;
    let files = fragmented()?;
    let start = Instant::now();
    drop(Heap::open("cma")?.allocate(size)?);
    let alone = start.elapsed();
    drop(files);
    for round in 0..MAX_ROUNDS {
        let files = fragmented()?;
        let mut other = Child::run(|| Heap::open("cma")?.allocate(size).map(drop))?;
        std::thread::sleep(alone / 8);
        let mut waiter = Child::run(|| {
            let heap = Heap::open("cma")?;
            loop {
                // The other one may have taken all memory.
                let _ = allocate(&heap, FRAME);
            }
        })?;
        std::thread::sleep(alone / 8);
        waiter.signal(Signal::SIGKILL)?;
        let verdict = waiter.wait(Duration::from_secs(20))?;
        let killed = matches!(verdict, Some(Verdict::Killed(Signal::SIGKILL)));
        let done_before = other.wait(Duration::ZERO)?;
        ensure!(killed, "{verdict:?}");
        let is_first = done_before.is_none();
        let verdict = match done_before {
            None => other.wait(Duration::from_secs(60))?,
            done => done,
        };
        ensure!(matches!(verdict, Some(Verdict::Passed)), "{verdict:?}");
        files.check()?;
        if is_first {
            return Ok(());
        }
        diagnose(&format!("round {round}: the other one was done before"));
    }
    anyhow::bail!("no waiter died before the other one was done");
}
