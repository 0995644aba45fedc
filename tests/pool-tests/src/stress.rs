// SPDX-License-Identifier: GPL-2.0

//! All operations at once, on all CPUs. Afterwards every counter is zero again.

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
use guest_support::checkers;
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::process::{
    Child,
    Verdict, //
};
use guest_support::retry::eventually;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests, seconds: u64) {
    let duration = Duration::from_secs(seconds);
    tests.add_within(
        duration + Duration::from_secs(60),
        "stress/all-at-once",
        move || all_at_once(duration),
    );
}

const PROCESSES: u64 = 8;

/// Returns the maximum bytes per process, so that all together hold half of the memory. A kernel
/// with checkers needs more memory itself.
fn max_held() -> Result<usize> {
    let share = if checkers::enabled() { 4 } else { 2 };
    Ok(memory::total()? / share / PROCESSES as usize)
}

const TOLERANCE: usize = 4 * MIB;

/// Returns a size of a page up to 32 MiB.
fn random_size(random: &mut fastrand::Rng) -> usize {
    let largest = (16 * MIB / page_size()).ilog2();
    let pages = 1usize << random.u32(0..=largest);
    (pages + random.usize(0..pages)) * page_size()
}

/// Checks the first word of every page and overwrites it.
fn use_mapped(buffer: &Buffer) -> Result<()> {
    let mapping = buffer.map()?;
    for offset in (0..mapping.len()).step_by(page_size()) {
        mapping.check_zero_range(offset, 8)?;
        mapping.write(offset, 1);
    }
    Ok(())
}

fn use_imported(buffer: &Buffer, client: &Client) -> Result<()> {
    let (one, two) = (client.attach(buffer)?, client.attach(buffer)?);
    one.map(Direction::ToDevice)?;
    two.map(Direction::FromDevice)?;
    buffer.sync(SYNC_START | SYNC_RW)?;
    two.vmap()?;
    buffer.sync(SYNC_END | SYNC_RW)?;
    one.unmap()?;
    Ok(())
}

pub fn work(seed: u64, duration: Duration) -> Result<()> {
    let start = Instant::now();
    let heaps = HEAPS
        .map(Heap::open)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let client = Client::open()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let max = max_held()?;
    let mut held: Vec<(Buffer, usize)> = Vec::new();
    while start.elapsed() < duration {
        let size = random_size(&mut random);
        let buffer = heaps[random.usize(0..heaps.len())].allocate(size)?;
        match random.u8(0..8) {
            0 => use_mapped(&buffer)?,
            1 => use_imported(&buffer, &client)?,
            // A duplicated descriptor, and a mapping that outlives it.
            2 => {
                let mapping = buffer.duplicate()?.map()?;
                mapping.check_zero_range(size - 8, 8)?;
            }
            _ => {}
        }
        held.push((buffer, size));
        while held.iter().map(|(_, size)| size).sum::<usize>() > max || held.len() > 50 {
            held.swap_remove(random.usize(0..held.len()));
        }
    }
    Ok(())
}

/// Reads the counters continuously. None may exceed the total memory, as a negative one would.
fn watch(until: Instant) -> Result<usize> {
    let all = memory::total()?;
    let mut rounds = 0;
    while Instant::now() < until {
        for (name, figures) in figures::read()? {
            ensure!(
                figures.allocated.max(figures.pooled).max(figures.backlog) <= all
                    && figures.buffers < 1 << 20,
                "{name}: impossible counters: {figures:?}"
            );
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(20));
        if rounds % 100 == 0 {
            std::fs::write("/proc/sys/vm/drop_caches", "2")?;
        }
    }
    Ok(rounds)
}

fn all_at_once(duration: Duration) -> Result<()> {
    client::load("")?;
    let module = Module::load("")?;
    let cpus = std::thread::available_parallelism()?;
    // Caches of the kernel fill up at first; that is not a leak.
    work(99, Duration::from_millis(500))?;
    Figures::settled()?;
    let before = memory::free_and_reclaimable()?;
    let start = Figures::total()?;

    let workers = (0..PROCESSES)
        .map(|seed| Child::run(move || work(seed, duration)))
        .collect::<Result<Vec<_>>>()?;
    let rounds = watch(Instant::now() + duration)?;
    for mut worker in workers {
        let verdict = worker
            .wait(Duration::from_secs(30))?
            .context("a process does not finish")?;
        ensure!(verdict == Verdict::Passed, "{verdict:?}");
    }

    let end = Figures::settled()?;
    diagnose(&format!(
        "{PROCESSES} processes on {cpus} CPUs for {duration:?}, counters read {rounds} times: \
         {} runs from the pools, {} not, {} MiB reclaimed",
        end.hits - start.hits,
        end.misses - start.misses,
        (end.reclaimed - start.reclaimed) / MIB
    ));
    for (name, figures) in figures::read()? {
        ensure!(
            figures.buffers == 0 && figures.allocated == 0 && figures.backlog == 0,
            "{name}: not everything was freed: {figures:?}"
        );
    }
    eventually(Duration::from_secs(2), || {
        let missing = before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(
            missing <= checkers::tolerated(TOLERANCE),
            "{} KiB are lost",
            missing >> 10
        );
        Ok(())
    })?;
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    let empty = Figures::total()?;
    ensure!(empty.kept() == 0, "the pools are not empty: {empty:?}");
    module.unload()
}
