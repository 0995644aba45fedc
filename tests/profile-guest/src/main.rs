// SPDX-License-Identifier: GPL-2.0

//! Allocates, imports or closes buffers, or loads modules, each time between two markers for the
//! QEMU plugin of `tests/profile`, and prints the addresses of the kernel's functions.

use anyhow::{
    Context,
    Result, //
};
use clap::{
    Parser,
    ValueEnum, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// The measured operation.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Operation {
    Allocate,
    /// Attach a device, map the buffer for it, unmap it, and detach the device, once more
    Import,
    Close,
    Load,
}

/// Allocate, import or close buffers, or load modules, between markers
#[derive(Parser)]
struct Arguments {
    /// Name of the heap
    #[arg(long, default_value = "system")]
    heap: String,

    /// Buffer size in bytes
    #[arg(long, default_value_t = 4096)]
    size: usize,

    /// Number of measured operations
    #[arg(long, default_value_t = 10)]
    rounds: usize,

    /// Files of the modules to load
    #[arg(long)]
    module: Vec<PathBuf>,

    /// Parameters of each module
    #[arg(long, default_value = "")]
    parameters: String,

    /// The operation between the markers
    operation: Operation,
}

/// Long enough for all deferred work to complete.
const PAUSE: Duration = Duration::from_millis(60);

/// Number of rounds before the measured ones.
const WARM_UP: usize = 10;

#[cfg(target_arch = "aarch64")]
fn mark(begin: bool) {
    // SAFETY: The instructions have no effect.
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

fn import(client: &Client, buffer: &Buffer, size: usize) -> Result<()> {
    let attachment = client.attach_sized(buffer, size)?;
    attachment.map(Direction::Both)?;
    Ok(attachment.unmap()?)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.operation == Operation::Load {
        load(&arguments)?;
    } else {
        use_heap(&arguments)?;
    }
    let symbols =
        std::fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    print!("{symbols}");
    Ok(())
}

fn load(arguments: &Arguments) -> Result<()> {
    mark(true);
    for module in &arguments.module {
        kernel_module::load(module, &arguments.parameters)??;
    }
    mark(false);
    Ok(())
}

fn use_heap(arguments: &Arguments) -> Result<()> {
    let heap = Heap::open(&arguments.heap)?;
    client::load("")?;
    let client = Client::open()?;
    for round in 0..WARM_UP + arguments.rounds {
        let is_measured = |operation| operation == arguments.operation && round >= WARM_UP;
        if is_measured(Operation::Allocate) {
            mark(true);
        }
        let buffer = heap.allocate(arguments.size)?;
        if is_measured(Operation::Allocate) {
            mark(false);
        }
        sleep(PAUSE);
        if is_measured(Operation::Import) {
            // The first time writes the zeroes back.
            import(&client, &buffer, arguments.size)?;
            mark(true);
            import(&client, &buffer, arguments.size)?;
            mark(false);
        }
        if is_measured(Operation::Close) {
            mark(true);
        }
        drop(buffer);
        if is_measured(Operation::Close) {
            mark(false);
        }
        sleep(PAUSE);
    }
    Ok(())
}
