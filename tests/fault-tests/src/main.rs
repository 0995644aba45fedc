// SPDX-License-Identifier: GPL-2.0

//! Tests with allocation failures. Each allocation of an operation fails in turn. The operation
//! must either fail with the right error and release all resources, or succeed without the
//! allocation. The kernel needs fault injection.

mod beyond;
mod buffers;
mod exhaustion;
mod injection;
mod interface;
mod loading;
mod nodes;
mod sites;

use clap::Parser;
use guest_support::ktap::{
    Options,
    Tests, //
};
use std::process::ExitCode;

/// Let each allocation fail in turn and report in KTAP
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tests = Tests::default();
    loading::add(&mut tests);
    buffers::add(&mut tests);
    interface::add(&mut tests);
    beyond::add(&mut tests);
    nodes::add(&mut tests);
    exhaustion::add(&mut tests);
    tests.run(&arguments.options)
}
