// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory: what comes of device trees, where buffers lie, and what drivers can do.

use super::{
    Guest,
    Place,
    Report,
    Suite,
    GUEST,
    LOADED_BY_TESTS,
    STOCK, //
};

/// What comes of a device tree, or of kernel arguments; `contiguous-tests` knows it by the same
/// name. All these machines have 1 GiB, so that the overlays' addresses are memory on every target.
macro_rules! tree {
    ($name:literal, $promise:literal, [$($option:literal),*]) => {
        tree!($name, $promise, [$($option),*], STOCK)
    };
    ($name:literal, $promise:literal, [$($option:literal),*], $targets:expr) => {
        Suite {
            name: concat!("tree-", $name),
            promise: $promise,
            place: Place::Guest(Guest {
                targets: $targets,
                options: &["--mem", "1G", "--module-args", "keep_ranges=0", $($option),*],
                command: concat!("contiguous-tests --tree ", $name, " tree/ placement/carveout"),
                ..GUEST
            }),
        }
    };
}

/// A machine whose Rockchip heap has an area of its own.
const CAMERA: &[&str] = &[
    "--mem",
    "1G",
    "--dtb",
    "rockchip-cma",
    "--append",
    "init_on_alloc=0",
    // What is freed is free: tests look at every page of the area.
    "--module-args",
    "keep_ranges=0",
];

/// The same, as the module is loaded without further ado.
const CAMERA_THAT_KEEPS: &[&str] = &[
    "--mem",
    "1G",
    "--dtb",
    "rockchip-cma",
    "--append",
    "init_on_alloc=0",
];

/// The page cache of half an area has to fit into files.
const MIGRATION: &str =
    "mount -o remount,size=90% /tmp && contiguous-tests --tree configured migration/";

pub const SUITES: &[Suite] = &[
    tree!("configured", "without node and argument the kernel's configuration makes the default area", ["--dtb", "none"]),
    tree!("argument", "cma=SIZE@ADDRESS makes the default area", ["--dtb", "none", "--append", "cma=32M@0x4d000000"]),
    tree!("highmem", "an area in high memory works like any other", ["--dtb", "none", "--append", "cma=32M@0x78000000"], &["armhf"]),
    tree!("memmap", "memmap= sets nothing aside on arm64", ["--dtb", "none", "--append", "memmap=64M$0x50000000"], &["arm64"]),
    tree!("default-cma", "a node makes the default area", ["--dtb", "default-cma"], LOADED_BY_TESTS),
    tree!("default-cma-and-argument", "with both, the argument wins", ["--dtb", "default-cma", "--append", "cma=32M@0x4d000000"]),
    tree!("device-cma", "a device's own area is a heap, and leaves the default area alone", ["--dtb", "device-cma"]),
    tree!("no-map", "a region that opted in is a carveout heap, packed; another one is not touched", ["--dtb", "no-map"]),
    tree!("all-regions", "all kinds of regions at once, each with its heap", ["--dtb", "all-regions"], LOADED_BY_TESTS),
    tree!("broken-alignment", "a crooked region is told, and the rest works", ["--dtb", "broken-alignment"], &["arm64"]),
    tree!("broken-alignment-8m", "a crooked region is told, and the rest works", ["--dtb", "broken-alignment-8m"], &["armhf"]),
    tree!("broken-size", "so are empty ones", ["--dtb", "broken-size"], LOADED_BY_TESTS),
    tree!("broken-overlap", "so are overlapping ones", ["--dtb", "broken-overlap"], LOADED_BY_TESTS),
    tree!("broken-kind", "so are those of the wrong kind", ["--dtb", "broken-kind"], LOADED_BY_TESTS),
    tree!("broken-nowhere", "so are nodes that point nowhere", ["--dtb", "broken-nowhere"], LOADED_BY_TESTS),
    tree!("broken-many", "more regions than the kernel takes", ["--dtb", "broken-many"], &["arm64"]),
    tree!("many-regions", "as many areas as a 32-bit kernel can have are all heaps", ["--dtb", "many-regions"], &["armhf"]),
    Suite {
        name: "board-rk3588",
        promise: "the overlay for RK3588 gives the default area below 4 GiB, and a heap for the signal processor",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--dtb", "boards/rk3588"],
            command: "[ -c /dev/dma_heap/isp-pool -a -c /dev/dma_heap/cma-dma32 ] && grep 'CmaTotal: *393216 kB' /proc/meminfo",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "board-rk3588-carveout",
        promise: "its example of a carveout is a heap, of memory that the kernel keeps out of",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--dtb", "boards/rk3588-carveout"],
            command: "[ -c /dev/dma_heap/frames@70000000 ] && grep '70000000-71ffffff : reserved' /proc/iomem",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "contiguous",
        promise: "the Rockchip heap packs its area to the last page; drivers get buffers and page arrays through the kernel interface and may be unloaded with them; mappings are there when they are made; a camera's session fits without a gap, and whatever comes and goes, each allocation lies where first fit says",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: CAMERA,
            command: "contiguous-tests --tree rockchip-cma tree/ placement/ interface/ rust/ unloading/ faults/ replay/",
            limit: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "kept-ranges",
        promise: "contiguous memory that was freed a moment ago is used again, and zero; neither the heaps nor other drivers miss it",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: CAMERA_THAT_KEEPS,
            command: "contiguous-tests --tree rockchip-cma kept/",
            ..GUEST
        }),
    },
    Suite {
        name: "warnings",
        promise: "drivers that free wrongly, or want pages where there are none, are refused with one warning",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--module-args", "keep_ranges=0", "--expect-report", "rk_dma_heap_(free|alloc)_contig_pages|allocation_free_wrongly|rockchip_allocate"],
            command: "contiguous-tests --tree rockchip-cma warnings/",
            ..GUEST
        }),
    },
    Suite {
        name: "migration",
        promise: "what the kernel keeps in an area moves out when the heap needs it",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "384M", "--dtb", "none", "--append", "cma=96M"],
            command: MIGRATION,
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "migration-checked",
        promise: "the same with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            // The checkers keep much memory for themselves.
            options: &["--mem", "512M", "--dtb", "none", "--append", "cma=96M"],
            command: MIGRATION,
            limit: 300,
            ..GUEST
        }),
    },
];
