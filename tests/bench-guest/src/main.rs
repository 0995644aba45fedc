// SPDX-License-Identifier: GPL-2.0

//! What heaps cost: the kernel's own, or those of the module, by the same measurements.
//! `tests/bench` boots machines that run this, and compares.
//!
//! A figure is a line on standard output: its name, a size or count that it is for, and its value,
//! with tabs between them. Under `qemu/vm --icount` an instruction takes a nanosecond of the
//! guest's time, so that what a clock says are instructions.

mod allocations;
mod clock;
mod cycles;
mod figure;
mod fragmentation;
mod growth;
mod importers;
mod kernel_memory;
mod mappings;
mod side;
mod throughput;

use anyhow::Result;
use clap::{
    Parser,
    ValueEnum, //
};
use clock::Clock;
use side::{
    Side,
    SideName, //
};

/// Measure what heaps cost, and print a figure a line
#[derive(Parser)]
struct Arguments {
    /// Whose heaps
    #[arg(long, value_enum)]
    side: SideName,

    /// Parameters to load the module with
    #[arg(long, value_name = "KEY=VALUE ...", default_value = "")]
    module_args: String,

    /// What to measure
    #[arg(value_enum, required = true)]
    part: Vec<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What loading costs, and how large what was loaded is
    Module,
    /// Allocating and closing, of heap `system`
    Allocations,
    /// The same of heaps with contiguous memory
    Contiguous,
    /// Allocating and closing with all that is done in the background
    Cycles,
    /// A camera's frames
    Frames,
    Mappings,
    Importers,
    /// What is left of contiguous memory after random allocations
    Fragmentation,
    /// How costs change with the number of live buffers
    Growth,
    /// What the kernel needs for a live buffer
    KernelMemory,
    /// How much several CPUs get done, in seconds rather than instructions
    Throughput,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let side = Side::load(arguments.side, &arguments.module_args)?;
    let clock = Clock::calibrated()?;
    for part in arguments.part {
        match part {
            Part::Module => side.tell()?,
            Part::Allocations => allocations::measure(&clock, &side)?,
            Part::Contiguous => allocations::measure_contiguous(&clock, &side)?,
            Part::Cycles => cycles::measure(&side)?,
            Part::Frames => cycles::measure_frames(&side)?,
            Part::Mappings => mappings::measure(&clock, &side)?,
            Part::Importers => importers::measure(&clock, &side)?,
            Part::Fragmentation => fragmentation::measure(&side)?,
            Part::Growth => growth::measure(&clock, &side)?,
            Part::KernelMemory => kernel_memory::measure(&side)?,
            Part::Throughput => throughput::measure(&side)?,
        }
    }
    Ok(())
}
