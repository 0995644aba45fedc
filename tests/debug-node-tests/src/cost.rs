// SPDX-License-Identifier: GPL-2.0

//! The cost of a line, in instructions of the guest. Requires a machine that executes one per
//! nanosecond: `--icount`.

use crate::nodes;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::module::Module;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use nix::time::{
    clock_gettime,
    ClockId, //
};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// Returns the maximum cost of a line. For `buffers` this includes scanning all descriptors of all
/// processes. With `PREEMPT_RT` the spin locks are mutexes, and there are six of them to a line.
fn max_instructions() -> Result<u128> {
    let version = std::fs::read_to_string("/proc/sys/kernel/version")?;
    Ok(if version.contains("PREEMPT_RT") {
        4000
    } else {
        3000
    })
}

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(240), "cost/of-a-line", of_a_line);
    tests.add("cost/of-a-long-scatter-list", of_a_long_scatter_list);
    tests.add("cost/of-another-heap", of_another_heap);
}

/// Returns the CPU time of this thread, which excludes that of other threads on the same CPU.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Returns the time for reading a node, in nanoseconds, and the number of its lines.
fn time(node: &str) -> Result<(u128, usize)> {
    let mut text = Vec::with_capacity(8 << 20);
    let start = cpu_time()?;
    File::open(nodes::path(node))?.read_to_end(&mut text)?;
    let nanoseconds = (cpu_time()? - start).as_nanos();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    Ok((nanoseconds, lines))
}

fn of_a_line() -> Result<()> {
    let _module = Module::load("")?;
    setrlimit(Resource::RLIMIT_NOFILE, 20_000, 20_000)?;
    let heap = Heap::open("system")?;
    let mut buffers: Vec<Buffer> = Vec::new();
    let max = max_instructions()?;
    let mut exceeded = false;
    for count in [1000, 10_000] {
        while buffers.len() < count {
            buffers.push(heap.allocate(1)?);
        }
        for node in ["dev", "sgt", "buffers"] {
            // The first read is not measured: it includes one-time costs.
            time(node)?;
            let (nanoseconds, lines) = time(node)?;
            ensure!(lines > count, "{node}: {lines} lines for {count} buffers");
            let each = nanoseconds / count as u128;
            diagnose(&format!(
                "{node}: {each} instructions per line with {count} buffers"
            ));
            if each > max {
                exceeded = true;
            }
        }
    }
    ensure!(!exceeded, "a line costs more than {max} instructions");
    Ok(())
}

// The lock of a buffer is held while its ranges are copied, not while they are printed: the first
// line does not cost what all lines cost.
fn of_a_long_scatter_list() -> Result<()> {
    const RANGES: usize = 4096;
    const MAX_INSTRUCTIONS_PER_RANGE: u128 = 100;
    let _module = Module::load("")?;
    client::reload("max_segment=4096")?;
    let client = Client::open()?;
    let buffer = Heap::open("system")?.allocate(RANGES * 4096)?;
    let attachment = client.attach(&buffer)?;
    attachment.map(Direction::Both)?;
    let read = || -> Result<u128> {
        let mut file = File::open(nodes::path("sgt"))?;
        let mut bytes = [0; 4096];
        // The heading.
        let heading = file.read(&mut bytes[..70])?;
        ensure!(heading == 70);
        let start = cpu_time()?;
        ensure!(file.read(&mut bytes)? > 0);
        Ok((cpu_time()? - start).as_nanos())
    };
    read()?;
    let each = read()? / RANGES as u128;
    diagnose(&format!("{each} instructions per range until the first"));
    attachment.unmap()?;
    drop(attachment);
    drop(client);
    client::reload("")?;
    ensure!(each <= MAX_INSTRUCTIONS_PER_RANGE);
    Ok(())
}

// All buffers are looked at once, however many heaps there are.
fn of_another_heap() -> Result<()> {
    const HEAP: &str = "debug-node-tests";
    let _module = Module::load("")?;
    setrlimit(Resource::RLIMIT_NOFILE, 20_000, 20_000)?;
    let heap = Heap::open("system")?;
    let buffers: Vec<Buffer> = (0..5000)
        .map(|_| heap.allocate(1))
        .collect::<Result<_, _>>()?;
    let read = || -> Result<u128> {
        let start = cpu_time()?;
        std::fs::read("/proc/rk_dma_heap/rk-dma-heap-info")?;
        Ok((cpu_time()? - start).as_nanos())
    };
    read()?;
    let before = read()?;
    let allocator = Allocator::open()?;
    allocator.add_heap(HEAP, true, false)?;
    let after = read();
    allocator.remove_heap()?;
    drop(allocator);
    allocator::unload()?;
    let after = after?;
    diagnose(&format!("{before} instructions, {after} with another heap"));
    ensure!(after * 10 < before * 13, "another heap costs another walk");
    drop(buffers);
    Ok(())
}
