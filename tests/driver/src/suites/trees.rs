// SPDX-License-Identifier: GPL-2.0

//! Suites of device trees and kernel arguments: the areas and heaps that each leads to.

use super::{
    Environment,
    Guest,
    Report,
    Suite,
    ARMHF,
    GUEST,
    MODULE_LOADED_BY_TEST,
    SMALL_BLOCKS,
    STOCK, //
};

/// Checks the heaps that a device tree or kernel arguments lead to; `contiguous-tests` uses the
/// same name. The machine has 1 GiB, so that the addresses in the overlays are memory on every
/// target.
macro_rules! tree {
    (
        name: $name:literal,
        promise: $promise:literal,
        options: [$($option:literal),*],
        $($field:ident: $value:expr,)*
    ) => {
        Suite {
            name: concat!("tree-", $name),
            promise: $promise,
            environment: Environment::Guest(Guest {
                options: &[
                    "--mem",
                    "1G",
                    // The tests check the areas.
                    "--module-args",
                    "keep_ranges=0 contig_max_percent=0",
                    $($option),*
                ],
                command: concat!("contiguous-tests --tree ", $name, " tree/ placement/carveout"),
                $($field: $value,)*
                ..TREE
            }),
        }
    };
}

/// The defaults of a suite on a device tree. The code that reads it does not depend on the size of
/// a word.
const TREE: Guest = Guest {
    targets: STOCK,
    wide: ARMHF,
    ..GUEST
};

pub const SUITES: &[Suite] = &[
    tree! {
        name: "configured",
        promise: "without node and argument the kernel's configuration sets up the default area",
        options: ["--dtb", "none"],
    },
    tree! {
        name: "argument",
        promise: "cma=SIZE@ADDRESS sets up the default area",
        options: ["--dtb", "none", "--append", "cma=32M@0x4e000000"],
    },
    tree! {
        name: "vendor-argument",
        promise: "rk_dma_heap_cma= of a vendor's kernel is ignored with one line in the log, which \
                  names what to write instead",
        options: ["--dtb", "none", "--append", "cma=24M rk_dma_heap_cma=16M@0x4d000000"],
    },
    tree! {
        name: "highmem",
        promise: "an area in high memory works like any other",
        options: ["--dtb", "none", "--append", "cma=32M@0x78000000"],
        targets: ARMHF,
        wide: &[],
    },
    tree! {
        name: "memmap",
        promise: "memmap= reserves nothing on arm64",
        options: ["--dtb", "none", "--append", "memmap=64M$0x50000000"],
        targets: &["arm64"],
    },
    tree! {
        name: "default-cma",
        promise: "a node sets up the default area",
        options: ["--dtb", "default-cma"],
        targets: MODULE_LOADED_BY_TEST,
        wide: &[],
    },
    tree! {
        name: "default-cma-and-argument",
        promise: "the argument overrides the node",
        options: ["--dtb", "default-cma", "--append", "cma=32M@0x4e000000"],
    },
    tree! {
        name: "device-cma",
        promise: "a device's own area becomes a heap and does not change the default area",
        options: ["--dtb", "device-cma"],
    },
    tree! {
        name: "no-map",
        promise: "an opted-in no-map region becomes a packed carveout heap; others are untouched",
        options: ["--dtb", "no-map"],
        wide: &[],
    },
    tree! {
        name: "all-regions",
        promise: "regions of all types together each become a heap",
        options: ["--dtb", "all-regions"],
        targets: MODULE_LOADED_BY_TEST,
        wide: &[],
        needs: &[SMALL_BLOCKS],
    },
    tree! {
        name: "broken-alignment",
        promise: "a misaligned region is reported, and the other heaps work",
        options: ["--dtb", "broken-alignment"],
        targets: &["arm64"],
    },
    tree! {
        name: "broken-alignment-8m",
        promise: "a misaligned region is reported, and the other heaps work",
        options: ["--dtb", "broken-alignment-8m"],
        targets: ARMHF,
        wide: &[],
    },
    tree! {
        name: "broken-size",
        promise: "empty regions are reported, and the other heaps work",
        options: ["--dtb", "broken-size"],
    },
    tree! {
        name: "broken-overlap",
        promise: "overlapping regions are reported, and the other heaps work",
        options: ["--dtb", "broken-overlap"],
    },
    tree! {
        name: "broken-kind",
        promise: "regions of a wrong type are reported, and the other heaps work",
        options: ["--dtb", "broken-kind"],
        needs: &[SMALL_BLOCKS],
    },
    tree! {
        name: "broken-nowhere",
        promise: "nodes without a valid memory-region are reported, and the other heaps work",
        options: ["--dtb", "broken-nowhere"],
    },
    tree! {
        name: "broken-names",
        promise: "two heaps of one name are reported once, without a warning of the kernel, and \
                  the other heaps work",
        options: ["--dtb", "broken-names"],
        needs: &[SMALL_BLOCKS],
    },
    tree! {
        name: "broken-memory",
        promise: "a carveout without memory behind it is left out, unless its node states that \
                  there is memory, and the other heaps work",
        options: ["--dtb", "broken-memory"],
        targets: MODULE_LOADED_BY_TEST,
    },
    tree! {
        name: "broken-under-initrd",
        promise: "a carveout that the kernel could not reserve and uses is left out, and the other \
                  heaps work",
        options: ["--dtb", "broken-under-initrd"],
        targets: MODULE_LOADED_BY_TEST,
    },
    tree! {
        name: "memory-cut",
        promise: "a carveout in memory that mem= hides from the kernel is a heap",
        options: ["--dtb", "memory-cut", "--append", "mem=512M"],
        targets: MODULE_LOADED_BY_TEST,
    },
    tree! {
        name: "broken-many",
        promise: "more regions than the kernel supports are reported, and the other heaps work",
        options: ["--dtb", "broken-many"],
        targets: &["arm64"],
        needs: &[SMALL_BLOCKS],
    },
    tree! {
        name: "many-regions",
        promise: "as many areas as a 32-bit kernel supports all become heaps",
        options: ["--dtb", "many-regions"],
        targets: ARMHF,
        wide: &[],
    },
    Suite {
        name: "board-rk3588",
        promise:
            "the RK3588 overlay sets up the default area below 4 GiB and a heap for the image \
                  signal processor",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--dtb", "boards/rk3588"],
            command: "[ -c /dev/dma_heap/isp-pool -a -c /dev/dma_heap/cma-dma32 ] && \
                      grep 'CmaTotal: *393216 kB' /proc/meminfo",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "board-rk3588-carveout",
        promise: "the RK3588 carveout example becomes a heap on memory reserved from the kernel",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--dtb", "boards/rk3588-carveout"],
            command: "[ -c /dev/dma_heap/frames@70000000 ] && \
                      grep '70000000-71ffffff : reserved' /proc/iomem",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
];
