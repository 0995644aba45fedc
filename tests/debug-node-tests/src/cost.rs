// SPDX-License-Identifier: GPL-2.0

//! What a line costs, in instructions of the guest. Only a machine that executes one a nanosecond can tell: `--icount`.

use crate::nodes::{self, Module};
use anyhow::{ensure, Result};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{diagnose, Tests};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

/// The most that a line may cost.
const MOST: u128 = 3000;

pub fn add(tests: &mut Tests) {
    tests.add_within(
        Duration::from_secs(240),
        "cost/of-a-line",
        of_a_line,
    );
}

/// How long reading a node takes, in nanoseconds, and how many lines there are.
fn time(node: &str) -> Result<(u128, usize)> {
    let mut text = Vec::with_capacity(8 << 20);
    let start = Instant::now();
    File::open(nodes::path(node))?.read_to_end(&mut text)?;
    let nanoseconds = start.elapsed().as_nanos();
    Ok((nanoseconds, text.iter().filter(|byte| **byte == b'\n').count()))
}

fn of_a_line() -> Result<()> {
    let _module = Module::load()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(20_000), hard)?;
    let heap = Heap::open("system")?;
    let mut buffers: Vec<Buffer> = Vec::new();
    for count in [1000, 10_000] {
        while buffers.len() < count {
            buffers.push(heap.allocate(1)?);
        }
        for node in ["dev", "sgt", "buffers"] {
            let (nanoseconds, lines) = time(node)?;
            ensure!(lines > count, "{node}: {lines} lines for {count} buffers");
            let each = nanoseconds / count as u128;
            diagnose(&format!("{node}: {each} instructions a line with {count} buffers"));
            ensure!(each <= MOST, "{node}: {each} instructions a line with {count} buffers");
        }
    }
    Ok(())
}
