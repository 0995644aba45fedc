// SPDX-License-Identifier: GPL-2.0

//! Tests loading of the module with valid and invalid parameters, what prevents unloading, and that
//! unloading leaves nothing behind.
//!
//! On a kernel with its own heaps, registered heaps stay until the next boot, and other tests
//! apply.

mod beside;
mod busy;
mod calls;
mod leftovers;
mod module;
mod parameters;
mod race;
mod sample;

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
        "module {} is loaded, but these tests load it: boot with qemu/vm --no-module",
        module::NAME
    );
    let mut tests = Tests::default();
    if heap::names()?.is_empty() {
        leftovers::add(&mut tests);
        busy::add(&mut tests);
        parameters::add(&mut tests);
        race::add(&mut tests);
        sample::add(&mut tests);
    } else {
        beside::add(&mut tests);
    }
    calls::add(&mut tests);
    Ok(tests.run(&arguments.options))
}
