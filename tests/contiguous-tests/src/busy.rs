// SPDX-License-Identifier: GPL-2.0

//! Recently freed contiguous memory on a busy machine: it is nobody's loss. The thread that
//! prepares it has the lowest priority and hardly runs here.

use crate::kept::{
    self,
    TestArea,
    EXPIRY_TIME, //
};
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::client::{
    self,
    Client, //
};
use guest_support::heap::Heap;
use guest_support::kept_ranges;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::Child;
use nix::errno::Errno;
use std::hint::black_box;
use std::thread::{
    available_parallelism,
    sleep, //
};
use std::time::{
    Duration,
    Instant, //
};

/// When freed memory is back in its area at the latest, whatever runs.
const DEADLINE: Duration = Duration::from_millis(1200);

/// The host may stop the machine at any time, so a time is right if it is in one of some rounds.
const ROUNDS: usize = 4;

/// Pauses after a buffer is freed: the thread is not awake yet, prepares it, or has prepared it.
const PAUSES_MS: [u64; 4] = [0, 11, 14, 60];

/// Pauses after which a thread that hardly runs has begun to prepare a range, but not finished.
const PREPARING_MS: [u64; 3] = [30, 100, 250];

/// How much longer some allocations may take because of other processes.
const SLACK: Duration = Duration::from_millis(500);

pub fn add(tests: &mut Tests) {
    for per_cpu in [0, 1, 2] {
        tests.add(format!("kept/busy/driver/{per_cpu}"), move || {
            driver(per_cpu)
        });
        tests.add(format!("kept/busy/expiry/{per_cpu}"), move || {
            expiry(per_cpu)
        });
    }
    tests.add("kept/busy/driver/small", small_requests);
    tests.add("kept/busy/driver/with-frames", driver_with_frames);
    for (heap, area) in kept::HEAPS {
        tests.add(format!("kept/busy/{heap}/larger"), move || {
            larger_buffer(heap, area)
        });
        tests.add(format!("kept/busy/{heap}/same-size"), move || {
            same_size(heap, area)
        });
        tests.add(format!("kept/busy/{heap}/switched-off"), move || {
            switched_off(heap, area)
        });
    }
}

/// Returns how many pauses are tried. With checkers and on the slow 32-bit machine each attempt
/// takes seconds.
fn rounds() -> usize {
    if checkers::enabled() || cfg!(target_pointer_width = "32") {
        2
    } else {
        usize::MAX
    }
}

/// Starts that many processes for each CPU. They use it until the value is dropped.
fn busy(per_cpu: usize) -> Result<Vec<Child>> {
    let cpus = available_parallelism()?.get();
    (0..per_cpu * cpus)
        .map(|_| {
            Child::run(|| loop {
                black_box(0);
            })
        })
        .collect()
}

/// This process has the highest priority until the value is dropped, to read the time when
/// something happens and not when the busy processes let it. Those that run already keep theirs.
struct Urgent;

impl Urgent {
    fn new() -> Result<Self> {
        set_nice(-20)?;
        Ok(Self)
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        let _ = set_nice(0);
    }
}

fn set_nice(nice: i32) -> Result<()> {
    // SAFETY: The call has no requirements.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result).context("cannot set the priority")?;
    Ok(())
}

/// Returns that many parts of 64 of an area, in whole pages.
fn parts(area: TestArea, parts: usize) -> Result<usize> {
    Ok(kept::find(area)?.total / 64 * parts / page_size() * page_size())
}

/// Frees a buffer of 30 of 64 parts of the area that was written to.
fn free_buffer(heap: &Heap, area: TestArea) -> Result<()> {
    let buffer = heap.allocate(parts(area, 30)?)?;
    buffer.map()?.fill(Pattern(3), 0);
    drop(buffer);
    Ok(())
}

// A driver gets memory that was just freed at its first attempt.
fn driver(per_cpu: usize) -> Result<()> {
    kept_ranges::release()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open("cma")?;
    let wanted = parts(TestArea::Default, 48)?;
    let _busy = busy(per_cpu)?;
    for pause in PAUSES_MS.into_iter().take(rounds()) {
        free_buffer(&heap, TestArea::Default)?;
        sleep(Duration::from_millis(pause));
        let start = Instant::now();
        client
            .allocates_coherent(wanted)
            .with_context(|| format!("{wanted} bytes, {pause} ms after a buffer was freed"))?;
        diagnose(&format!(
            "{per_cpu} busy per CPU, after {pause} ms: {wanted} bytes in {} ms",
            start.elapsed().as_millis()
        ));
    }
    Ok(())
}

// What is kept returns in time.
fn expiry(per_cpu: usize) -> Result<()> {
    kept_ranges::release()?;
    let heap = Heap::open("cma")?;
    let before = kept::available(TestArea::Default)?;
    let _busy = busy(per_cpu)?;
    let _observer = Urgent::new()?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        free_buffer(&heap, TestArea::Default)?;
        let freed = Instant::now();
        let deadline = 20 * EXPIRY_TIME;
        while kept::available(TestArea::Default)? < before && freed.elapsed() < deadline {
            sleep(Duration::from_millis(2));
        }
        times.push(freed.elapsed());
        if freed.elapsed() <= DEADLINE * checkers::timeout_factor() {
            diagnose(&format!("{per_cpu} busy per CPU: returned after {times:?}"));
            return Ok(());
        }
    }
    bail!("returned after {times:?}")
}

// A request that needs no more than is free finds the area as if nothing were kept, one that is
// larger than the area changes nothing.
fn small_requests() -> Result<()> {
    kept_ranges::release()?;
    client::load("")?;
    let client = Client::open()?;
    let heap = Heap::open("cma")?;
    let before = kept::available(TestArea::Default)?;
    let total = kept::find(TestArea::Default)?.total;
    for round in 0..ROUNDS {
        free_buffer(&heap, TestArea::Default)?;
        let freed = Instant::now();
        ensure!(
            client.allocates_coherent(total + (16 << 20)).is_err(),
            "more than the area has"
        );
        let after = kept::available(TestArea::Default)?;
        // If the machine was stopped in between, the range may be released already.
        ensure!(
            after < before || freed.elapsed() >= kept_ranges::KEEP_TIME,
            "round {round}: a request that can never succeed has emptied the cache"
        );
        client.allocates_coherent(64 << 10)?;
    }
    Ok(())
}

// A driver gets memory at each attempt while a pipeline with frames of many sizes runs: the frames
// in use are few, the freed ones are kept.
fn driver_with_frames() -> Result<()> {
    kept_ranges::release()?;
    client::load("")?;
    let client = Client::open()?;
    let unit = parts(TestArea::Default, 1)?;
    let frames = Child::run(move || {
        let heap = Heap::open("cma")?;
        for round in 0.. {
            // At most 4 parts are in use.
            let small = heap.allocate(unit + round % 5 * page_size());
            let large = heap.allocate(2 * unit + round % 7 * page_size());
            drop((small, large));
        }
        Ok(())
    })?;
    let wanted = 16 * unit;
    for round in 0..checkers::rounds(60) {
        client
            .allocates_coherent(wanted)
            .with_context(|| format!("round {round}: {wanted} bytes"))?;
    }
    drop(frames);
    Ok(())
}

// A heap gets the memory of a freed buffer for a larger one, without waiting.
fn larger_buffer(name: &str, area: TestArea) -> Result<()> {
    let heap = Heap::open(name)?;
    let wanted = parts(area, 48)?;
    let allocate = || -> Result<Duration> {
        let start = Instant::now();
        drop(heap.allocate(wanted)?);
        Ok(start.elapsed())
    };
    let _busy = busy(2)?;
    for _ in 0..ROUNDS {
        let mut expected = Duration::ZERO;
        let mut needed = Duration::ZERO;
        for pause in PREPARING_MS.into_iter().take(rounds()) {
            kept_ranges::switch_to("0")?;
            free_buffer(&heap, area)?;
            expected += allocate()?;
            kept_ranges::switch_to("1")?;
            free_buffer(&heap, area)?;
            // The thread prepares the range, as far as it runs.
            sleep(Duration::from_millis(pause));
            needed += allocate()
                .with_context(|| format!("{wanted} bytes, {pause} ms after a buffer was freed"))?;
        }
        diagnose(&format!(
            "{name}: {wanted} bytes in {needed:?}; with nothing kept in {expected:?}"
        ));
        if needed <= 2 * expected + SLACK * checkers::timeout_factor() {
            return Ok(());
        }
    }
    bail!("each time more than twice as long as with nothing kept")
}

// Whoever takes over a range that is being zeroed finds zeros in all of it.
fn same_size(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let heap = Heap::open(name)?;
    let size = parts(area, 24)?;
    for per_cpu in [0, 1] {
        let _busy = busy(per_cpu)?;
        for pause in PAUSES_MS.into_iter().take(rounds()) {
            let buffer = heap.allocate(size)?;
            buffer.map()?.check_zero()?;
            buffer.map()?.fill(Pattern(91), 0);
            drop(buffer);
            sleep(Duration::from_millis(pause));
        }
    }
    Ok(())
}

// When the switch is off, everything is back.
fn switched_off(name: &str, area: TestArea) -> Result<()> {
    let heap = Heap::open(name)?;
    let _busy = busy(2)?;
    for pause in PAUSES_MS.into_iter().take(rounds()) {
        kept_ranges::release()?;
        let before = kept::available(area)?;
        free_buffer(&heap, area)?;
        sleep(Duration::from_millis(pause));
        kept_ranges::switch_to("0")?;
        let now = kept::available(area)?;
        ensure!(
            now >= before,
            "{now} bytes available {pause} ms after a buffer was freed, expected {before} as before"
        );
    }
    kept_ranges::switch_to("1")
}
