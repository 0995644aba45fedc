// SPDX-License-Identifier: GPL-2.0

//! What is measured, and on which sides.

use anyhow::{
    Context,
    Result, //
};

/// A heap that is measured.
pub struct Side {
    /// Its name in the table.
    pub name: &'static str,
    /// The shell command that loads it.
    pub load: &'static str,
    /// The arguments of `profile-guest` that load it.
    pub modules: &'static str,
}

pub const SIDES: [Side; 3] = [
    Side {
        name: "in-tree",
        load: "modprobe system_heap; modprobe cma_heap",
        modules: "--module $folder/system_heap.ko --module $folder/cma_heap.ko",
    },
    Side {
        name: "untracked",
        load: "insmod /lib/modules/rk_dma_heap.ko track_all=0 default_names=0",
        modules: "--module /lib/modules/rk_dma_heap.ko --parameters 'track_all=0 default_names=0'",
    },
    Side {
        name: "ours",
        load: "insmod /lib/modules/rk_dma_heap.ko",
        modules: "--module /lib/modules/rk_dma_heap.ko",
    },
];

/// What is measured.
pub struct Operation {
    pub title: &'static str,
    /// Its name for the guest's program.
    pub command: &'static str,
    /// Size of the buffer in bytes.
    pub size: usize,
    pub rounds: usize,
    /// Functions with fewer instructions on each side are summed up.
    pub least: f64,
    /// The heap, which exists on each side.
    pub heap: &'static str,
}

/// An operation on a small buffer.
pub const SMALL: Operation = Operation {
    title: "",
    command: "",
    size: 4096,
    rounds: 10,
    least: 20.0,
    heap: "system",
};

pub const OPERATIONS: &[Operation] = &[
    Operation {
        title: "allocate, 4096 bytes",
        command: "allocate",
        ..SMALL
    },
    Operation {
        title: "close, 4096 bytes",
        command: "close",
        ..SMALL
    },
    Operation {
        title: "attach, map, unmap and detach, 1 MiB",
        command: "import",
        size: 1 << 20,
        ..SMALL
    },
    Operation {
        title: "attach, map, unmap and detach, 32 MiB",
        command: "import",
        size: 32 << 20,
        ..SMALL
    },
    Operation {
        title: LOAD,
        command: LOAD,
        rounds: 1,
        least: 20_000.0,
        ..SMALL
    },
];

pub const LOAD: &str = "load";

/// The operations whose locks are measured.
pub const LOCKED: &[Operation] = &[
    Operation {
        title: "allocate, system, 4 KiB",
        command: "allocate",
        ..SMALL
    },
    Operation {
        title: "close, system, 4 KiB",
        command: "close",
        ..SMALL
    },
    Operation {
        title: "allocate, system, 1 MiB",
        command: "allocate",
        size: 1 << 20,
        ..SMALL
    },
    Operation {
        title: "close, system, 1 MiB",
        command: "close",
        size: 1 << 20,
        ..SMALL
    },
    Operation {
        title: "allocate, default_cma_region, 1 MiB",
        command: "allocate",
        size: 1 << 20,
        heap: "default_cma_region",
        ..SMALL
    },
    Operation {
        title: "close, default_cma_region, 1 MiB",
        command: "close",
        size: 1 << 20,
        heap: "default_cma_region",
        ..SMALL
    },
];

/// Calls `measure` for each side.
pub fn on_each_side<T>(
    operation: &Operation,
    measure: impl Fn(&Side) -> Result<T>,
) -> Result<Vec<T>> {
    SIDES
        .iter()
        .map(|side| {
            eprintln!("  {}, {} ...", operation.title, side.name);
            measure(side).with_context(|| format!("{}, {}", operation.title, side.name))
        })
        .collect()
}
