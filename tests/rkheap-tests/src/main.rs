// SPDX-License-Identifier: GPL-2.0

//! Guest tests of the installed program `rkheap` with real heaps and buffers.
//!
//! The tests compare its output with their own allocations, or with the behaviour of the kernel.
//! For example, the size of a gap is right if an allocation of that size succeeds and an allocation
//! with one more page fails.

mod alloc_bench;
mod doctor;
mod leak;
mod ls;
mod map;
mod peak;
mod program;
mod stacks;
mod top;
mod top_pages;
mod user;
mod watch;
mod without_module;

use anyhow::Result;
use clap::Parser;
use guest_support::ktap::{
    Options,
    Tests, //
};
use guest_support::vgem::Vgem;
use std::process::ExitCode;
use std::time::Duration;

/// Test rkheap and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// Run no tests, but hold two buffers of a driver for this time, for rkheap/tests/record
    #[arg(long, value_name = "SECONDS")]
    hold_vgem: Option<u64>,

    #[command(flatten)]
    options: Options,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(seconds) = arguments.hold_vgem {
        let vgem = Vgem::open()?;
        let held = [vgem.allocate(1 << 20)?, vgem.allocate(640 << 10)?];
        let _mapping = held[0].map()?;
        std::thread::sleep(Duration::from_secs(seconds));
        return Ok(ExitCode::SUCCESS);
    }
    let mut tests = Tests::default();
    ls::add(&mut tests);
    doctor::add(&mut tests);
    leak::add(&mut tests);
    stacks::add(&mut tests);
    peak::add(&mut tests);
    map::add(&mut tests);
    top::add(&mut tests);
    top_pages::add(&mut tests);
    alloc_bench::add(&mut tests);
    watch::add(&mut tests);
    user::add(&mut tests);
    without_module::add(&mut tests);
    Ok(tests.run(&arguments.options))
}
