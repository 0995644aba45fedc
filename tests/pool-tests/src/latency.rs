// SPDX-License-Identifier: GPL-2.0

//! How late a real-time thread runs while heaps are in use, as `cyclictest` measures it.
//!
//! A thread of the highest priority sleeps again and again for [`PERIOD`]. It is late by the rest
//! of the section without preemption or interrupts in which its timer expires, and by what the
//! kernel needs to wake it. So no such section is longer than the largest delay and one period. In
//! a machine with `--icount` a nanosecond is an instruction, and its delays repeat exactly.

use crate::figures::Figures;
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::cpu::become_real_time;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    skip,
    Tests, //
};
use guest_support::memory;
use guest_support::module::Module;
use guest_support::page_size;
use std::sync::atomic::{
    AtomicBool,
    AtomicU64,
    Ordering::Relaxed, //
};
use std::thread;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(600), "latency/wake-up", wake_up);
}

/// How long the thread sleeps. It is shorter than the sections that the test is to find.
const PERIOD: Duration = Duration::from_micros(50);

/// The longest permitted section without preemption or interrupts.
const LIMIT: Duration = Duration::from_micros(100);

/// How long each kind of use takes.
const PHASE: Duration = Duration::from_millis(150);

/// A thread of the highest priority, and by how much it was late.
struct Sleeper {
    stop: AtomicBool,
    /// The largest delay in nanoseconds.
    worst: AtomicU64,
    count: AtomicU64,
}

impl Sleeper {
    fn run(&self) -> Result<()> {
        become_real_time()?;
        while !self.stop.load(Relaxed) {
            let start = Instant::now();
            thread::sleep(PERIOD);
            let late = start.elapsed().saturating_sub(PERIOD).as_nanos() as u64;
            self.worst.fetch_max(late, Relaxed);
            self.count.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Calls `work` for [`PHASE`], and returns the largest delay meanwhile.
    fn measure(&self, name: &str, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
        let before = self.count.load(Relaxed);
        self.worst.store(0, Relaxed);
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < PHASE {
            work().with_context(|| name.to_owned())?;
            rounds += 1;
        }
        let worst = Duration::from_nanos(self.worst.load(Relaxed));
        let count = self.count.load(Relaxed) - before;
        ensure!(count > 100, "{name}: the thread ran {count} times only");
        diagnose(&format!(
            "{name}: at most {:.1} us late, {count} times in {rounds} rounds",
            worst.as_secs_f64() * 1e6
        ));
        Ok(worst)
    }
}

fn is_real_time() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/version")
        .is_ok_and(|text| text.split(' ').any(|word| word == "PREEMPT_RT"))
}

fn wake_up() -> Result<()> {
    if !is_real_time() {
        return Err(skip("this kernel has no real-time preemption"));
    }
    memory::lock_this_process()?;
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let sleeper = Sleeper {
        stop: AtomicBool::new(false),
        worst: AtomicU64::new(0),
        count: AtomicU64::new(0),
    };
    let (kernel, heaps) = thread::scope(|scope| -> Result<_> {
        let thread = scope.spawn(|| sleeper.run());
        let result = phases(&sleeper, &client);
        sleeper.stop.store(true, Relaxed);
        thread.join().expect("the thread does not panic")?;
        result
    })?;
    Figures::settled()?;
    drop(client);
    client::unload()?;
    module.unload()?;
    diagnose(&format!("without heaps {kernel:?}, with heaps {heaps:?}"));
    ensure!(
        heaps <= LIMIT,
        "a thread of the highest priority is {heaps:?} late, without heaps {kernel:?}"
    );
    Ok(())
}

/// Returns the largest delay without heaps, and with them.
fn phases(sleeper: &Sleeper, client: &Client) -> Result<(Duration, Duration)> {
    let sleep = || -> Result<()> {
        thread::sleep(Duration::from_millis(10));
        Ok(())
    };
    let idle = sleeper.measure("idle", sleep)?;
    let file = "/tmp/latency";
    let kernel = sleeper.measure("a file in memory", || {
        std::fs::write(file, vec![1u8; 4 * MIB])?;
        Ok(std::fs::remove_file(file)?)
    })?;
    let mut worst = Duration::ZERO;
    for name in ["system", "system-uncached", "cma", "rk-dma-heap-cma"] {
        let heap = Heap::open(name)?;
        for size in [page_size(), MIB, 8 * MIB] {
            let allocate = || -> Result<()> {
                drop(heap.allocate(size)?);
                Ok(())
            };
            let label = format!("{name}, {} KiB", size >> 10);
            worst = worst.max(sleeper.measure(&label, allocate)?);
        }
        let label = format!("{name}, many buffers");
        let many = || -> Result<()> {
            let held = (0..64).map(|_| heap.allocate(64 << 10));
            held.collect::<Result<Vec<_>>>().map(drop)
        };
        worst = worst.max(sleeper.measure(&label, many)?);
        let label = format!("{name}, mapped and attached");
        let mapped = || -> Result<()> {
            let buffer = heap.allocate(2 * MIB)?;
            buffer.map()?.write(0, 1);
            let attachment = client.attach(&buffer)?;
            attachment.map(Direction::Both)?;
            Ok(())
        };
        worst = worst.max(sleeper.measure(&label, mapped)?);
    }
    let heap = Heap::open("system")?;
    let reclaimed = || -> Result<()> {
        drop(heap.allocate(32 * MIB)?);
        std::fs::write("/proc/sys/vm/drop_caches", "2")?;
        Ok(())
    };
    worst = worst.max(sleeper.measure("reclaimed pools", reclaimed)?);
    let held = (0..200).map(|_| heap.allocate(page_size()));
    let held = held.collect::<Result<Vec<_>>>()?;
    let read = || -> Result<()> {
        for node in ["size", "dev", "sgt"] {
            std::fs::read(format!("/proc/rk_dmabuf/{node}"))?;
        }
        Ok(())
    };
    worst = worst.max(sleeper.measure("debug nodes of 200 buffers", read)?);
    drop(held);
    Ok((idle.max(kernel), worst))
}
