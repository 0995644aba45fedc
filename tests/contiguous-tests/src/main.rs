// SPDX-License-Identifier: GPL-2.0

//! Tests contiguous memory: the areas of the heaps, the ranges of buffers in them, and the
//! interface for drivers.

mod areas;
mod beyond;
mod bitmaps;
mod busy;
mod contig_reserve;
mod drivers;
mod faults;
mod frames;
mod held;
mod hopeless;
mod interface;
mod kept;
mod layout;
mod low_zones;
mod migration;
mod pinned;
mod placement;
mod recording;
mod replay;
mod rust_driver;
mod trees;
mod unloading;
mod warnings;

use anyhow::{
    Context,
    Result, //
};
use clap::Parser;
use guest_support::ktap::{
    Options,
    Tests, //
};
use std::process::ExitCode;

/// Test heaps of contiguous memory and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// Name of the device tree or the kernel arguments of the machine
    #[arg(long, value_name = "NAME")]
    tree: String,

    #[command(flatten)]
    options: Options,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let tree = trees::TREES
        .iter()
        .find(|tree| tree.name == arguments.tree)
        .with_context(|| format!("tree {} is unknown: see trees.rs", arguments.tree))?;
    let mut tests = Tests::default();
    layout::add(&mut tests, tree);
    bitmaps::add(&mut tests, tree);
    placement::add(&mut tests, tree);
    replay::add(&mut tests);
    interface::add(&mut tests);
    rust_driver::add(&mut tests);
    drivers::add(&mut tests, tree);
    unloading::add(&mut tests);
    warnings::add(&mut tests);
    faults::add(&mut tests);
    kept::add(&mut tests);
    held::add(&mut tests);
    busy::add(&mut tests);
    hopeless::add(&mut tests);
    migration::add(&mut tests);
    pinned::add(&mut tests);
    frames::add(&mut tests, tree);
    beyond::add(&mut tests);
    contig_reserve::add(&mut tests);
    Ok(tests.run(&arguments.options))
}
