// SPDX-License-Identifier: GPL-2.0

//! Every allocation that an operation makes fails, one after the other: the operation then fails
//! with the right error and leaves nothing behind, or does without. For kernels with fault
//! injection.

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

/// Make each allocation fail in turn and report in KTAP
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
    nodes::add(&mut tests);
    exhaustion::add(&mut tests);
    tests.run(&arguments.options)
}
