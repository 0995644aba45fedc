// SPDX-License-Identifier: GPL-2.0

//! What a line costs, in instructions of the guest. Only a machine that executes one a nanosecond
//! can tell: `--icount`.

use crate::nodes;
use anyhow::{
    ensure,
    Result, //
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

/// The most that a line may cost. For `buffers`, looking through all descriptors of all processes
/// is part of it.
const MOST: u128 = 3000;

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(240), "cost/of-a-line", of_a_line);
}

/// The time that this thread has run: what others do on the same CPU meanwhile does not count.
fn running() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// How long reading a node takes, in nanoseconds, and how many lines there are.
fn time(node: &str) -> Result<(u128, usize)> {
    let mut text = Vec::with_capacity(8 << 20);
    let start = running()?;
    File::open(nodes::path(node))?.read_to_end(&mut text)?;
    let nanoseconds = (running()? - start).as_nanos();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    Ok((nanoseconds, lines))
}

fn of_a_line() -> Result<()> {
    let _module = Module::load("")?;
    setrlimit(Resource::RLIMIT_NOFILE, 20_000, 20_000)?;
    let heap = Heap::open("system")?;
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut over = false;
    for count in [1000, 10_000] {
        while buffers.len() < count {
            buffers.push(heap.allocate(1)?);
        }
        for node in ["dev", "sgt", "buffers"] {
            // Once before, so that what is done for the first time does not count.
            time(node)?;
            let (nanoseconds, lines) = time(node)?;
            ensure!(lines > count, "{node}: {lines} lines for {count} buffers");
            let each = nanoseconds / count as u128;
            diagnose(&format!(
                "{node}: {each} instructions a line with {count} buffers"
            ));
            if each > MOST {
                over = true;
            }
        }
    }
    ensure!(!over, "a line costs more than {MOST} instructions");
    Ok(())
}
