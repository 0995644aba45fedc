// SPDX-License-Identifier: GPL-2.0

//! Tests of the system heaps' memory: it is always zeroed, is in the right zone and has the right
//! mapping type, and pools, deferred freeing and accounting are consistent, also when memory is
//! short.
//!
//! The tests load the module themselves, each one with its parameters.

mod accounting;
mod available;
mod bounds;
mod carveout_importers;
mod cgroup;
mod client_itself;
mod coherence;
mod dma32;
mod figures;
mod importers;
mod killed;
mod large;
mod latency;
mod maintenance;
mod mapping_types;
mod memory_failure;
mod prefill;
mod pressure;
mod removed;
mod reserve;
mod soak;
mod stress;
mod suspend;
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

/// All system heaps.
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
    /// Duration of the stress test
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    stress_seconds: u64,

    /// Also run the soak test, in rounds with little memory, for this number of minutes
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,

    #[command(flatten)]
    options: Options,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    ensure!(
        !module::is_loaded(),
        "module {} is loaded, but these tests load it: boot with qemu/vm --no-module",
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
    maintenance::add_last(&mut tests);
    available::add(&mut tests);
    pressure::add(&mut tests);
    reserve::add(&mut tests);
    prefill::add(&mut tests);
    unload::add(&mut tests);
    killed::add(&mut tests);
    zeroing::add(&mut tests);
    stress::add(&mut tests, arguments.stress_seconds);
    dma32::add(&mut tests);
    importers::add(&mut tests);
    large::add(&mut tests);
    removed::add(&mut tests);
    latency::add(&mut tests);
    carveout_importers::add(&mut tests);
    memory_failure::add(&mut tests);
    suspend::add(&mut tests);
    if let Some(minutes) = arguments.soak {
        soak::add(&mut tests, minutes);
    }
    Ok(tests.run(&arguments.options))
}
