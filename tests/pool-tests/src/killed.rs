// SPDX-License-Identifier: GPL-2.0

//! Processes that are killed during an allocation, many times.

use crate::figures::Figures;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
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
use guest_support::process::Child;
use guest_support::retry::eventually;
use guest_support::tracing::FailedIoctls;
use nix::errno::Errno;
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

/// Memory that the kernel's own caches may use during a thousand rounds of fork and exit. A leak of
/// one page in every third round would exceed it, and so would three leaked runs of pages.
const TOLERANCE: usize = 2 * MIB;

fn allocate_for_ever(heap: &Heap) -> Result<()> {
    loop {
        drop(heap.allocate(SIZE)?);
    }
}

fn kill_one(heap: &Heap, pause: Duration) -> Result<()> {
    let mut child = Child::run(|| allocate_for_ever(heap))?;
    std::thread::sleep(pause);
    child.kill(Duration::from_secs(20))
}

fn thousand_times() -> Result<()> {
    // With such a small pool most memory is allocated or prepared during the allocation, which
    // takes long enough to be interrupted.
    let module = Module::load("pool_max_mib=8")?;
    let rounds = checkers::rounds(ROUNDS);
    let mut heaps = HEAPS
        .map(Heap::open)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    drop(heaps[0].allocate(SIZE)?);
    // On a busy machine the first allocation may take far longer than most others.
    let whole = start.elapsed().min(Duration::from_millis(20));
    let mut random = fastrand::Rng::with_seed(3);
    let mut pause = || Duration::from_micros(500) + whole.mul_f64(random.f64() * 1.2);
    // Caches of the kernel fill up in the first rounds; that is not a leak.
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
            "buffers of killed processes still exist: {now:?}"
        );
        left = memory::free_and_reclaimable()?;
        ensure!(
            left + checkers::tolerated(TOLERANCE) >= before,
            "{} KiB are lost",
            (before - left) >> 10
        );
        Ok(())
    })?;
    diagnose(&format!(
        "{hits} of {rounds} kills interrupted an allocation of {} MiB; free memory changed by \
         {} KiB",
        SIZE / MIB,
        (left as i64 - before as i64) / 1024
    ));
    ensure!(
        hits >= rounds / 4,
        "only {hits} kills interrupted an allocation"
    );
    heaps.clear();
    module.unload()
}
