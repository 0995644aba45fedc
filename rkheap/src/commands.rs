// SPDX-License-Identifier: GPL-2.0

//! The commands, one module per command.

pub mod alloc;
pub mod bench;
pub mod doctor;
pub mod documents;
pub mod leak;
pub mod ls;
pub mod map;
pub mod peak;
pub mod snapshot;
pub mod watch;

use crate::arguments::{
    Arguments,
    Command, //
};
use crate::exit::Status;
use crate::output::Output;
use crate::system::System;
use crate::top;
use anyhow::Result;

/// Runs the command of the command line.
pub fn run(arguments: Arguments) -> Result<Status> {
    let system = System::new(arguments.root);
    let output = Output::new(arguments.json, arguments.color);
    match arguments.command {
        Command::Ls(options) => ls::run(&system, output, &options),
        Command::Top(options) => top::run(&system, output, &options),
        Command::Leak(options) => leak::run(&system, output, &options),
        Command::Snapshot => snapshot::run(&system, output),
        Command::Peak(options) => peak::run(&system, output, &options.command),
        Command::Map(options) => map::run(&system, output, &options),
        Command::Alloc(options) => alloc::run(&system, output, &options),
        Command::Bench(options) => bench::run(&system, output, &options),
        Command::Watch(options) => watch::run(&system, output, &options),
        Command::Plot(options) => watch::plot(output, &options),
        Command::Doctor(options) => doctor::run(&system, output, &options),
        Command::Completions { shell } => documents::completions(output, shell),
        Command::Man { dir } => documents::manual(output, dir.as_deref()),
    }
}
