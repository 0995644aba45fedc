// SPDX-License-Identifier: GPL-2.0

//! Tests of the module's life: loading with good and bad parameters, what stands in the way of
//! unloading, and that nothing stays behind.
//!
//! On a kernel that has heaps itself, what is registered there stays for good; other tests hold
//! then.

mod beside;
mod busy;
mod leftovers;
mod module;
mod parameters;
mod race;

use anyhow::{
    ensure,
    Result, //
};
use clap::Parser;
use guest_support::heap;
use guest_support::ktap::{
    Options,
    Tests, //
};
use std::process::ExitCode;

/// Test loading and unloading of the module and report in KTAP
#[derive(Parser)]
struct Arguments {
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
    if heap::names()?.is_empty() {
        leftovers::add(&mut tests);
        busy::add(&mut tests);
        parameters::add(&mut tests);
        race::add(&mut tests);
    } else {
        beside::add(&mut tests);
    }
    Ok(tests.run(&arguments.options))
}
