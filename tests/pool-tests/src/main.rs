// SPDX-License-Identifier: GPL-2.0

//! Tests of the system heaps' memory: that it is always zeroed, lies where it must, is mapped as it
//! must be, and that pools, deferred freeing and accounting add up, also when memory is short.
//!
//! The tests load the module themselves, each with the parameters that it needs.

mod accounting;
mod bounds;
mod cgroup;
mod client_itself;
mod coherence;
mod cpu;
mod dma32;
mod figures;
mod killed;
mod maintenance;
mod mapping_types;
mod pressure;
mod soak;
mod stress;
mod totals;
mod trace;
mod tracepoints;
mod unload;
mod zeroing;

use anyhow::{
    ensure,
    Result, //
};
use clap::Parser;
use guest_support::ktap::{
    Options,
    Tests, //
};
use guest_support::module;
use std::process::ExitCode;

/// Every system heap.
const HEAPS: [&str; 4] = [
    "system",
    "system-uncached",
    "system-dma32",
    "system-uncached-dma32",
];

/// One MiB.
const MIB: usize = 1 << 20;

/// Test the memory of the system heaps and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// How long everything happens at once
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    stress_seconds: u64,

    /// Also run everything at once, in rounds with memory short, for so many minutes
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,

    #[command(flatten)]
    options: Options,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    ensure!(
        !module::is_loaded(),
        "module {} is loaded; these tests load it themselves, so unload it first (qemu/vm: --no-module)",
        module::NAME
    );
    let mut tests = Tests::default();
    client_itself::add(&mut tests);
    bounds::add(&mut tests);
    totals::add(&mut tests);
    tracepoints::add(&mut tests);
    accounting::add(&mut tests);
    mapping_types::add(&mut tests);
    maintenance::add(&mut tests);
    coherence::add(&mut tests);
    pressure::add(&mut tests);
    unload::add(&mut tests);
    killed::add(&mut tests);
    zeroing::add(&mut tests);
    stress::add(&mut tests, arguments.stress_seconds);
    dma32::add(&mut tests);
    if let Some(minutes) = arguments.soak {
        soak::add(&mut tests, minutes);
    }
    Ok(tests.run(&arguments.options))
}
