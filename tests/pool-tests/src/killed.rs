// SPDX-License-Identifier: GPL-2.0

//! Processes that are killed in the middle of an allocation, many times.

use crate::figures::Figures;
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
use guest_support::memory;
use guest_support::module::Module;
use guest_support::process::{
    eventually,
    Child,
    Verdict, //
};
use guest_support::tracing::FailedIoctls;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add_within(
        Duration::from_secs(180),
        "killed/thousand-times",
        thousand_times,
    );
}

const ROUNDS: usize = 1000;
const SIZE: usize = 16 * MIB;

/// What the kernel's own caches may take in a thousand rounds of fork and exit. One page lost in
/// every third round would be more; a run of pages lost in three of them too.
const TOLERANCE: usize = 2 * MIB;

fn allocate_for_ever(heap: &Heap) -> Result<()> {
    loop {
        drop(heap.allocate(SIZE)?);
    }
}

fn kill_one(heap: &Heap, pause: Duration) -> Result<()> {
    let mut child = Child::run(|| allocate_for_ever(heap))?;
    std::thread::sleep(pause);
    child.signal(Signal::SIGKILL)?;
    let verdict = child
        .wait(Duration::from_secs(20))?
        .context("does not die")?;
    ensure!(verdict == Verdict::Killed(Signal::SIGKILL), "{verdict:?}");
    Ok(())
}

fn thousand_times() -> Result<()> {
    // So small a pool that most memory is allocated or made ready in the allocation, which takes
    // its time.
    let module = Module::load("pool_max_mib=8")?;
    let rounds = checkers::rounds(ROUNDS);
    let mut heaps = HEAPS
        .map(Heap::open)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    drop(heaps[0].allocate(SIZE)?);
    // On a busy machine one allocation may have taken far longer than most will.
    let whole = start.elapsed().min(Duration::from_millis(20));
    let mut random = fastrand::Rng::with_seed(3);
    let mut pause = || Duration::from_micros(500) + whole.mul_f64(random.f64() * 1.2);
    // Caches of the kernel fill up with the first rounds; that is no loss.
    for heap in heaps.iter().cycle().take(40) {
        kill_one(heap, pause())?;
    }
    Figures::settled()?;
    let before = memory::free_and_reclaimable()?;

    let interrupted = FailedIoctls::with(Errno::EINTR)?;
    for heap in heaps.iter().cycle().take(rounds) {
        kill_one(heap, pause())?;
    }
    let hits = interrupted.count()?;
    drop(interrupted);

    let mut left = 0;
    eventually(Duration::from_secs(5), || {
        let now = Figures::settled()?;
        ensure!(
            now.buffers == 0 && now.allocated == 0,
            "buffers of the dead are still there: {now:?}"
        );
        left = memory::free_and_reclaimable()?;
        ensure!(
            left + checkers::tolerated(TOLERANCE) >= before,
            "{} KiB are gone",
            (before - left) >> 10
        );
        Ok(())
    })?;
    diagnose(&format!(
        "{hits} of {rounds} kills interrupted an allocation of {} MiB; the memory at rest changed by {} KiB",
        SIZE / MIB,
        (left as i64 - before as i64) / 1024
    ));
    ensure!(hits >= rounds / 4, "only {hits} kills hit an allocation");
    heaps.clear();
    module.unload()
}
