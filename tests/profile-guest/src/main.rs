// SPDX-License-Identifier: GPL-2.0

//! Allocates or closes buffers, each time between two marks that a plugin of QEMU sees, and tells
//! where the kernel's functions lie.

use anyhow::{
    Context,
    Result, //
};
use clap::{
    Parser,
    ValueEnum, //
};
use guest_support::heap::Heap;
use std::thread::sleep;
use std::time::Duration;

/// What is between the marks.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    Allocate,
    Close,
}

/// Allocate or close buffers between marks
#[derive(Parser)]
struct Arguments {
    /// The heap
    #[arg(long)]
    heap: String,

    /// The size of a buffer, in bytes
    #[arg(long, default_value_t = 4096)]
    size: usize,

    /// How often
    #[arg(long, default_value_t = 10)]
    rounds: usize,

    what: What,
}

/// Until what was left for later is done.
const PAUSE: Duration = Duration::from_millis(60);

/// Rounds that are not counted.
const WARM_UP: usize = 10;

#[cfg(target_arch = "aarch64")]
fn mark(begin: bool) {
    // SAFETY: The instructions do nothing.
    unsafe {
        if begin {
            std::arch::asm!("mov x27, x27");
        } else {
            std::arch::asm!("mov x28, x28");
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn mark(_: bool) {}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let heap = Heap::open(&arguments.heap)?;
    for round in 0..WARM_UP + arguments.rounds {
        let counted = |what| what == arguments.what && round >= WARM_UP;
        if counted(What::Allocate) {
            mark(true);
        }
        let buffer = heap.allocate(arguments.size)?;
        if counted(What::Allocate) {
            mark(false);
        }
        sleep(PAUSE);
        if counted(What::Close) {
            mark(true);
        }
        drop(buffer);
        if counted(What::Close) {
            mark(false);
        }
        sleep(PAUSE);
    }
    let symbols = std::fs::read_to_string("/proc/kallsyms").context("cannot read the symbols")?;
    print!("{symbols}");
    Ok(())
}
