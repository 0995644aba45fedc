// SPDX-License-Identifier: GPL-2.0

//! Reads all nodes continuously while buffers are allocated and freed.

use crate::nodes;
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
use guest_support::dma_buf::{
    self,
    SetName, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::module::Module;
use guest_support::process::Child;
use guest_support::vgem::Vgem;
use std::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use std::time::{
    Duration,
    Instant, //
};

/// Number of threads that allocate.
const THREADS: u64 = 8;
/// Maximum size of a buffer, in KiB; each thread holds one at a time.
const MAX_KIB: u64 = 1024;
/// Nodes of the threads that only read. Such a thread references one buffer at a time and may drop
/// its last reference.
const READERS: &[&str] = &["size", "peak", "dev", "sgt", "buffers", "info"];

pub fn add(tests: &mut Tests, seconds: u64) {
    let limit = Duration::from_secs(seconds + 60);
    tests.add_within(limit, "stress/read-while-buffers-come-and-go", move || {
        run(Duration::from_secs(seconds))
    });
}

fn run(duration: Duration) -> Result<()> {
    client::load("")?;
    let kernels = dma_buf::totals()?.bytes as u64 / 1024;
    let _module = Module::load("")?;
    let before = nodes::size()?;
    ensure!(
        before == kernels,
        "{before} KiB, the kernel reports {kernels} KiB"
    );
    let (end, rounds, reads) = (
        Instant::now() + duration,
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let child = Child::run(|| {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for seed in 0..THREADS {
                let rounds = &rounds;
                threads.push(scope.spawn(move || allocate(seed, end, rounds)));
            }
            for node in READERS {
                let reads = &reads;
                threads.push(scope.spawn(move || read(node, before, end, reads)));
            }
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("panicked"))??;
            }
            anyhow::Ok(())
        })?;
        diagnose(&format!(
            "{} buffers, {} reads",
            rounds.load(Ordering::Relaxed),
            reads.load(Ordering::Relaxed)
        ));
        Ok(())
    })?;
    let mut child = child;
    let verdict = child.wait(duration + Duration::from_secs(40))?;
    ensure!(
        verdict == Some(guest_support::process::Verdict::Passed),
        "{verdict:?}"
    );
    let (after, kernels) = (nodes::size()?, dma_buf::totals()?.bytes as u64 / 1024);
    ensure!(
        after == before && kernels == before,
        "{before} KiB before, {after} KiB after, the kernel reports {kernels} KiB"
    );
    ensure!(nodes::dev()?.is_empty(), "{:?}", nodes::dev()?);
    Ok(())
}

fn allocate(seed: u64, end: Instant, rounds: &AtomicU64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let client = Client::open()?;
    let vgem = Vgem::open()?;
    let heaps: Vec<_> = ["system", "system-uncached", "rk-dma-heap-cma"]
        .into_iter()
        .map(Heap::open)
        .collect::<Result<_>>()?;
    while Instant::now() < end {
        let size = (random.u64(1..MAX_KIB) as usize) << 10;
        let answer = match random.usize(..=heaps.len()) {
            other if other == heaps.len() => vgem.allocate(size),
            heap => heaps[heap].allocate(size),
        };
        // Allocation fails if the area is full.
        let Ok(buffer) = answer else {
            continue;
        };
        match random.u8(..4) {
            0 => drop(buffer.map()?),
            1 => {
                let attachment = client.attach(&buffer)?;
                attachment.map(Direction::Both)?;
                attachment.unmap()?;
            }
            2 => buffer.set_name(&format!("{}", random.u64(..)), SetName::Pointer64)?,
            _ => {}
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn read(node: &str, before: u64, end: Instant, reads: &AtomicU64) -> Result<()> {
    let max = before + (THREADS + READERS.len() as u64) * MAX_KIB;
    while Instant::now() < end {
        match node {
            "size" => {
                let size = nodes::size()?;
                ensure!((before..=max).contains(&size), "{size} KiB");
            }
            "peak" => {
                let peak = nodes::peak()?;
                ensure!(peak <= max / 1024, "{peak} MiB");
            }
            "dev" => drop(nodes::dev()?),
            "sgt" => drop(nodes::rows(&nodes::read("sgt")?, "SGLIST")?),
            "buffers" => drop(nodes::records()?),
            _ => check_info()?,
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Checks that the last line has the sum of the sizes in the lines above.
fn check_info() -> Result<()> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    let mut sum = 0;
    for line in text.lines().filter(|line| line.contains("Alloc by")) {
        let size = line.rsplit('\t').next().context("no size")?;
        let size = size.split(' ').next().context("no size")?;
        sum += u64::from_str_radix(size.trim_start_matches("0x"), 16)?;
    }
    let last = text.lines().last().context("empty")?;
    let expected = format!("Total : {sum:#x} ({} KiB)", sum / 1024);
    ensure!(last == expected, "{text}\nexpected {expected}");
    Ok(())
}
