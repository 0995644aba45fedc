// SPDX-License-Identifier: GPL-2.0

//! Measures the cost of the in-tree heaps or of the module's heaps. `tests/bench` boots machines
//! that run this program and compares the figures.
//!
//! Each figure is a line on standard output: its name, its size or count, and its value, separated
//! by tabs. With `qemu/vm --icount` an instruction takes one nanosecond of guest time, so durations
//! are numbers of instructions.

mod allocations;
mod clock;
mod cycles;
mod figure;
mod fragmentation;
mod growth;
mod importers;
mod kernel_mappings;
mod kernel_memory;
mod mappings;
mod reserve;
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

/// Measure the cost of heaps and print one figure per line
#[derive(Parser)]
struct Arguments {
    /// The implementation to measure
    #[arg(long, value_enum)]
    side: SideName,

    /// Module parameters
    #[arg(long, value_name = "KEY=VALUE ...", default_value = "")]
    module_args: String,

    /// The measurements to run
    #[arg(value_enum, required = true)]
    part: Vec<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Load cost and module sizes
    Module,
    /// Allocation and close in heap `system`
    Allocations,
    /// Allocation and close in the contiguous heaps
    Contiguous,
    /// Allocation and close with background work
    Cycles,
    /// CPU usage of camera frames
    Frames,
    Mappings,
    Importers,
    /// Mappings into the kernel
    KernelMappings,
    /// Fragmentation of a CMA area
    Fragmentation,
    /// Costs by number of live buffers
    Growth,
    /// Kernel memory per live buffer
    KernelMemory,
    /// Allocations from a reserve of contiguous memory
    Reserve,
    /// The longest of many allocations of contiguous memory while a page cache fills memory
    Latency,
    /// Throughput of several CPUs, in host time
    Throughput,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let side = Side::load(arguments.side, &arguments.module_args)?;
    let clock = Clock::calibrated()?;
    for part in arguments.part {
        match part {
            Part::Module => side.print_figures(),
            Part::Allocations => allocations::measure(&clock, &side)?,
            Part::Contiguous => allocations::measure_contiguous(&clock, &side)?,
            Part::Cycles => cycles::measure(&side)?,
            Part::Frames => cycles::measure_frames(&side)?,
            Part::Mappings => mappings::measure(&clock, &side)?,
            Part::Importers => importers::measure(&clock, &side)?,
            Part::KernelMappings => kernel_mappings::measure(&clock, &side)?,
            Part::Fragmentation => fragmentation::measure(&side)?,
            Part::Growth => growth::measure(&clock, &side)?,
            Part::KernelMemory => kernel_memory::measure(&side)?,
            Part::Reserve => reserve::measure(&clock)?,
            Part::Latency => reserve::measure_latency(&clock)?,
            Part::Throughput => throughput::measure(&side)?,
        }
    }
    Ok(())
}
