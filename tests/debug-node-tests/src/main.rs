// SPDX-License-Identifier: GPL-2.0

//! Tests of the debug nodes: their content for every dma-buf in the system, its format, and the
//! permissions.
//!
//! The tests load the module themselves. They compare the nodes with the kernel's own list in
//! debugfs and with the fdinfo of each buffer's descriptor.

mod access;
mod advanced;
mod cost;
mod cpus;
mod exporters;
mod lifetime;
mod lists;
mod names;
mod nodes;
mod privacy;
mod records;
mod stress;
mod totals;

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

/// Test the debug nodes and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// Duration of the stress test
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    stress: u64,

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
    totals::add(&mut tests);
    lists::add(&mut tests);
    records::add(&mut tests);
    cpus::add(&mut tests);
    lifetime::add(&mut tests);
    names::add(&mut tests);
    advanced::add(&mut tests);
    access::add(&mut tests);
    privacy::add(&mut tests);
    stress::add(&mut tests, arguments.stress);
    cost::add(&mut tests);
    Ok(tests.run(&arguments.options))
}
