// SPDX-License-Identifier: GPL-2.0

//! Suspend to idle and hibernation, as far as the kernel tests itself, with pools and reserve full
//! and with buffers in use.
//!
//! From the level `devices` on, the driver of virtio-serial in kernel 7.3.4 forgets that the host
//! listens, and whoever writes to such a port waits for ever. So the suite has the tests of the
//! first level only, and the others write to the kernel's console: `tests/README.md`.

use crate::importers::CARVEOUT;
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::Tests;
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::mib_file::{
    CONTIG_RESERVE,
    POOL_PREFILL, //
};
use guest_support::module::Module;
use guest_support::pattern::Pattern;
use guest_support::process::Child;
use guest_support::retry::eventually;
use std::fs;
use std::time::{
    Duration,
    Instant, //
};

/// Buffers of each kind of memory. The default area has 24 MiB.
const BUFFERS: [(&str, usize); 8] = [
    ("system", 12 << 10),
    ("system", 9 * MIB),
    ("system-uncached", 5 * MIB),
    ("system-dma32", MIB),
    ("cma", 4 * MIB),
    ("cma", 32 * MIB),
    ("rk-dma-heap-cma", 2 * MIB),
    (CARVEOUT, MIB),
];

/// How far the kernel goes before it returns, with what is written to `/sys/power/state`. Suspend
/// to idle has no state of processors and core of its own.
const LEVELS: [(&str, &[&str]); 2] = [
    ("freeze", &["freezer", "devices", "platform"]),
    (
        "disk",
        &["freezer", "devices", "platform", "processors", "core"],
    ),
];

/// What is to be kept ready.
const KEPT: usize = 32 * MIB;

/// What is ready at least, since the threads begin to fill below a low mark.
const READY: usize = KEPT / 2;

/// Within this time the threads fill what was released.
const FILL: Duration = Duration::from_secs(30);

/// Processes that use heaps meanwhile.
const PROCESSES: usize = 2;

/// Time for a test, in which the kernel waits at each level.
const LIMIT: Duration = Duration::from_secs(240);

pub fn add(tests: &mut Tests) {
    for (state, levels) in LEVELS {
        for level in levels {
            tests.add_within(LIMIT, format!("suspend/{state}/{level}"), move || {
                suspended(state, Some(level))
            });
        }
    }
    tests.add_within(LIMIT, "suspend/freeze/asleep", || suspended("freeze", None));
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {path}"))
}

/// Suspends the machine, up to a level at which the kernel returns on its own, or until its clock
/// wakes it.
fn suspend(state: &str, level: Option<&str>) -> Result<()> {
    const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";
    const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
    write(DELAY, "1")?;
    write("/sys/power/pm_test", level.unwrap_or("none"))?;
    if level.is_none() {
        write(ALARM, "+3").context("the machine has no clock that wakes it")?;
    }
    let mut log = KernelLog::from_now_on()?;
    let start = Instant::now();
    write("/sys/power/state", state)?;
    let asleep = start.elapsed();
    write("/sys/power/pm_test", "none")?;
    let messages = log.messages()?;
    match level {
        // The clock stands still at some levels.
        Some(_) => ensure!(
            messages.iter().any(|line| line.contains("debug: Waiting")),
            "the kernel did not stop at this level: {messages:?}"
        ),
        None => ensure!(asleep >= Duration::from_secs(1), "awake after {asleep:?}"),
    }
    Ok(())
}

/// A buffer in use.
struct InUse {
    buffer: Buffer,
    mapping: Mapping,
    pattern: Pattern,
}

fn in_use() -> Result<Vec<InUse>> {
    let buffers = BUFFERS.iter().zip(1..);
    buffers
        .map(|((heap, size), seed)| {
            let buffer = Heap::open(heap)?.allocate(*size)?;
            let mapping = buffer.map()?;
            mapping.fill(Pattern(seed), 0);
            Ok(InUse {
                buffer,
                mapping,
                pattern: Pattern(seed),
            })
        })
        .collect()
}

/// Allocates buffers, which are zeroed, writes to them and frees them, until it is killed.
fn use_heaps() -> Result<()> {
    loop {
        for (heap, size) in [("system", MIB), ("system-uncached", MIB), ("cma", MIB)] {
            let mapping = Heap::open(heap)?.allocate(size)?.map()?;
            mapping.check_zero()?;
            mapping.fill(Pattern(99), 0);
        }
    }
}

fn wait_until_full() -> Result<()> {
    eventually(FILL, || {
        let reserve = guest_support::heaps_file::size("cma", "reserve")?;
        let pooled = memory::pooled()?;
        ensure!(
            pooled >= READY && reserve >= Some(READY),
            "pooled: {pooled}, reserve: {reserve:?}"
        );
        Ok(())
    })
}

/// Fails unless the thread prepares what is freed.
fn pools_go_on() -> Result<()> {
    let heap = Heap::open("system-dma32")?;
    let buffer = heap.allocate(16 * MIB)?;
    buffer.map()?.fill(Pattern(3), 0);
    let before = memory::pooled()?;
    drop(buffer);
    eventually(FILL, || {
        let after = memory::pooled()?;
        ensure!(after > before, "{before} and {after} bytes are ready");
        Ok(())
    })?;
    heap.allocate(16 * MIB)?.map()?.check_zero()
}

fn suspended(state: &str, level: Option<&str>) -> Result<()> {
    let _module = Module::load("")?;
    POOL_PREFILL.set(KEPT)?;
    CONTIG_RESERVE.set(KEPT)?;
    wait_until_full()?;
    let buffers = in_use()?;
    wait_until_full()?;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Child::run(use_heaps)?);
    }
    suspend(state, level)?;
    for mut process in processes {
        ensure!(
            process.wait(Duration::from_millis(500))?.is_none(),
            "a process that uses heaps has ended"
        );
        process.kill(Duration::from_secs(10))?;
    }
    for used in &buffers {
        used.mapping.check(used.pattern, 0)?;
        used.buffer.map()?.check(used.pattern, 0)?;
    }
    pools_go_on()?;
    // What was released for the image is taken again.
    wait_until_full().context("afterwards")
}
