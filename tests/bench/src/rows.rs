// SPDX-License-Identifier: GPL-2.0

//! The rows of the table and the two figures that each row compares.

use crate::boots::Boot;
use serde::{
    Deserialize,
    Serialize, //
};

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Size of a 4K frame in NV12 format, in bytes.
pub const FRAME: usize = 3840 * 2160 * 3 / 2;

const SIZES: &[usize] = &[4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];
const HUGE_SIZES: &[usize] = &[8 * MIB, 32 * MIB];

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Instructions,
    Bytes,
    /// Percent of a CPU.
    Percent,
    /// Entries of a scatter list.
    Entries,
}

/// The machine and the name of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub boot: Boot,
    pub name: &'static str,
    /// The size of the figure if it differs from the size of the row.
    pub size: Option<usize>,
}

/// A row of the table: one operation at several sizes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub key: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub sizes: &'static [usize],
    pub ours: Source,
    /// The figure that `ours` is divided by.
    pub reference: Source,
}

const fn from(boot: Boot, name: &'static str) -> Source {
    Source {
        boot,
        name,
        size: None,
    }
}

/// A row whose figure has the same name for the in-tree heaps and for the module.
const fn row(key: &'static str, title: &'static str, sizes: &'static [usize]) -> Row {
    Row {
        key,
        title,
        unit: Unit::Instructions,
        sizes,
        ours: from(Boot::Ours, key),
        reference: from(Boot::InTree, key),
    }
}

/// A row whose figure exists for the module only; `name` is the in-tree reference figure.
const fn against(
    key: &'static str,
    name: &'static str,
    title: &'static str,
    sizes: &'static [usize],
) -> Row {
    let mut row = row(key, title, sizes);
    row.reference = from(Boot::InTree, name);
    row
}

/// A row that compares the cost with 100,000 live buffers to the cost with 100.
const fn growth(key: &'static str, title: &'static str) -> Row {
    let ours = from(Boot::OursLarge, key);
    Row {
        key,
        title,
        unit: Unit::Instructions,
        sizes: &[100_000],
        ours,
        reference: Source {
            boot: Boot::OursLarge,
            name: key,
            size: Some(100),
        },
    }
}

const fn kernel_memory(key: &'static str, title: &'static str, sizes: &'static [usize]) -> Row {
    let mut row = row(key, title, sizes);
    row.unit = Unit::Bytes;
    row.ours.boot = Boot::OursLarge;
    row.reference.boot = Boot::InTreeLarge;
    row
}

const fn share_of_cpu(key: &'static str, title: &'static str) -> Row {
    let mut row = row(key, title, &[FRAME]);
    row.unit = Unit::Percent;
    row
}

/// A row of allocations of contiguous memory with a reserve.
const fn with_reserve(mut row: Row) -> Row {
    row.ours.boot = Boot::OursReserve;
    row
}

/// A row that compares the longest one of many allocations with their median.
const fn longest(key: &'static str, title: &'static str, boot: Boot) -> Row {
    let mut row = row(key, title, &[MIB]);
    row.ours = from(boot, "latency-largest/cma");
    row.reference = from(boot, "latency-median/cma");
    row
}

const fn entries(key: &'static str, title: &'static str) -> Row {
    let mut row = row(key, title, SIZES);
    row.unit = Unit::Entries;
    row
}

const fn untracked(mut row: Row, name: &'static str) -> Row {
    row.ours = from(Boot::Untracked, name);
    row.reference = from(Boot::InTree, name);
    row
}

pub const ROWS: &[Row] = &[
    row("allocate-warm/system", "allocate, pool warm, system", SIZES),
    untracked(
        row(
            "allocate-untracked/system",
            "allocate, pool warm, nothing tracked, system",
            SIZES,
        ),
        "allocate-warm/system",
    ),
    row("allocate-cold/system", "allocate, pool cold, system", SIZES),
    row("close/system", "close, system", SIZES),
    untracked(
        row(
            "close-untracked/system",
            "close, nothing tracked, system",
            SIZES,
        ),
        "close/system",
    ),
    row(
        "cycle/system",
        "allocate and close, with background work",
        SIZES,
    ),
    row("map/system", "map, write each page, unmap, system", SIZES),
    row(
        "map-aligned/system",
        "the same aligned to 2 MiB, system",
        HUGE_SIZES,
    ),
    row("map/cma", "map, write each page, unmap, cma", SIZES),
    row(
        "map-aligned/cma",
        "the same aligned to 2 MiB, cma",
        HUGE_SIZES,
    ),
    row("allocate-cold/cma", "allocate, cold, cma", SIZES),
    against(
        "allocate-cold/rk-dma-heap-cma",
        "allocate-cold/cma",
        "allocate, cold, rk-dma-heap-cma",
        SIZES,
    ),
    with_reserve(against(
        "allocate-reserve/cma",
        "allocate-cold/cma",
        "allocate, from a reserve, against in-tree's cold, cma",
        SIZES,
    )),
    longest(
        "longest-reserve/cma",
        "the longest of 1,000 against the median, full page cache, reserve, cma",
        Boot::OursReserve,
    ),
    longest(
        "longest-no-reserve/cma",
        "the same without a reserve, cma",
        Boot::OursNoReserve,
    ),
    row("allocate-warm/cma", "allocate, just freed, cma", SIZES),
    against(
        "allocate-warm/rk-dma-heap-cma",
        "allocate-warm/cma",
        "allocate, just freed, rk-dma-heap-cma",
        SIZES,
    ),
    row("close/cma", "close, cma", SIZES),
    row("attach/system", "attach, map, unmap, detach, system", SIZES),
    row("attach/cma", "attach, map, unmap, detach, cma", SIZES),
    row(
        "attach-viewed/system",
        "the same while a process maps the buffer, system",
        SIZES,
    ),
    row(
        "attach-viewed/cma",
        "the same while a process maps the buffer, cma",
        SIZES,
    ),
    row(
        "attach-second/system",
        "the same while another device maps the buffer, system",
        SIZES,
    ),
    entries("entries/system", "entries of the scatter list, system"),
    row("sync-1/system", "sync start and end, 1 importer", SIZES),
    row("sync-8/system", "sync start and end, 8 importers", SIZES),
    against(
        "sync-1/system-uncached",
        "sync-1/system",
        "sync, 1 importer, our uncached against in-tree's cached",
        SIZES,
    ),
    against(
        "sync-8/system-uncached",
        "sync-8/system",
        "sync, 8 importers, our uncached against in-tree's cached",
        SIZES,
    ),
    row(
        "vmap-first/system",
        "kernel mapping and unmapping, the first time, system",
        SIZES,
    ),
    row("vmap-again/system", "the same again, system", SIZES),
    row(
        "vmap-first/cma",
        "kernel mapping and unmapping, the first time, cma",
        SIZES,
    ),
    row("vmap-again/cma", "the same again, cma", SIZES),
    kernel_memory(
        "kernel-memory/system",
        "kernel memory of a live buffer, system",
        &[4 * KIB],
    ),
    kernel_memory(
        "kernel-memory/cma",
        "kernel memory of a live buffer, cma",
        &[8 * MIB],
    ),
    share_of_cpu(
        "frames/system",
        "60 frames a second, system, share of a CPU",
    ),
    share_of_cpu("frames/cma", "60 frames a second, cma, share of a CPU"),
    share_of_cpu("frames-own/system", "of that, the program itself, system"),
    share_of_cpu("frames-own/cma", "of that, the program itself, cma"),
    row("module-load", "load the modules", &[0]),
    growth(
        "growth-allocate",
        "allocate with 100,000 live buffers against 100",
    ),
    growth(
        "growth-close",
        "close with 100,000 live buffers against 100",
    ),
    growth(
        "growth-line",
        "a line of /proc/rk_dmabuf/dev, 100,000 against 100",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = ROWS.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), ROWS.len());
    }
}
