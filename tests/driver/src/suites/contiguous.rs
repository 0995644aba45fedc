// SPDX-License-Identifier: GPL-2.0

//! Suites of areas and ranges: placement of buffers, cached ranges, pinned pages, and the interface
//! for drivers.

use super::{
    Environment,
    Guest,
    Suite,
    ARMHF,
    BESIDE_ARM64,
    EVERYWHERE,
    GUEST,
    MODULE_LOADED_BY_TEST,
    STOCK, //
};

/// A machine with an area for the Rockchip heap.
const ROCKCHIP_CMA: &[&str] = &[
    "--mem",
    "1G",
    "--dtb",
    "rockchip-cma",
    "--append",
    "init_on_alloc=0",
    // Freed ranges return to the area at once: the tests check every page of it.
    "--module-args",
    "keep_ranges=0",
];

/// The same machine with ranges that are cached.
const ROCKCHIP_CMA_KEPT_RANGES: &[&str] = &[
    "--mem",
    "1G",
    "--dtb",
    "rockchip-cma",
    "--append",
    "init_on_alloc=0",
    // The tests check when the area has no place.
    "--module-args",
    "contig_max_percent=0",
];

/// The area of 64 MiB also loses the ranges that nobody may use again.
const HELD_PAGES: &[&str] = &["--mem", "1G", "--append", "cma=64M init_on_alloc=0"];

/// The files in `/tmp` must be large enough for the page cache of half an area.
const MIGRATION: &str =
    "mount -o remount,size=90% /tmp && contiguous-tests --tree configured migration/";

/// A small area, and memory that a process fills in a few seconds.
const PINNED: &[&str] = &[
    "--mem",
    "512M",
    "--dtb",
    "none",
    "--append",
    "cma=32M",
    // The tests check what the area holds.
    "--module-args",
    "keep_ranges=0 contig_max_percent=0",
];

pub const SUITES: &[Suite] = &[
    Suite {
        name: "contiguous",
        promise: "the Rockchip heap packs its area to the last page; drivers allocate buffers and \
                  page arrays through the kernel interface and may be unloaded while they hold \
                  them; mappings are populated at once; a recorded camera session fits without a \
                  gap, and every allocation is placed by first fit",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            wide: ARMHF,
            options: ROCKCHIP_CMA,
            command: "contiguous-tests --tree rockchip-cma \
                      tree/ placement/ interface/ rust/ drivers/ unloading/ faults/ replay/",
            timeout: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "bitmaps",
        promise: "the vendor's files show exactly the pages of each area that are allocated, and \
                  are for administrators; the list of allocations has the vendor's names as well",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            options: ROCKCHIP_CMA,
            command: "contiguous-tests --tree rockchip-cma bitmap/",
            ..GUEST
        }),
    },
    Suite {
        name: "bitmaps-amd64",
        promise:
            "bitmaps, and the example of a driver, pass where the kernel has a registry of heaps",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=64M", "--module-args", "keep_ranges=0"],
            command: "contiguous-tests --tree argument bitmap/ drivers/example/",
            ..GUEST
        }),
    },
    Suite {
        name: "kept-ranges",
        promise: "recently freed contiguous memory is reused and zeroed, and stays available to \
                  heaps and other drivers",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            wide: ARMHF,
            options: ROCKCHIP_CMA_KEPT_RANGES,
            command: "contiguous-tests --tree rockchip-cma kept/",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "kept-ranges-amd64",
        promise: "recently freed contiguous memory stays available to heaps and other drivers",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &[
                "--append",
                "cma=64M",
                "--module-args",
                "contig_max_percent=0",
            ],
            command: "contiguous-tests --tree argument kept/busy/driver/ kept/busy/expiry/ \
                      kept/busy/cma/ kept/hopeless/cma/too-large kept/hopeless/cma/in-use",
            ..GUEST
        }),
    },
    Suite {
        name: "held-pages",
        promise:
            "a page to which a driver still refers when it frees it, or which a process maps, \
                  is in no other buffer; one warning",
        environment: Environment::Guest(Guest {
            targets: EVERYWHERE,
            wide: BESIDE_ARM64,
            options: HELD_PAGES,
            command: "contiguous-tests --tree configured held/",
            ..GUEST
        }),
    },
    Suite {
        name: "warnings",
        promise: "a driver that frees wrongly, puts a heap too often, or allocates from a heap \
                  without pages, is refused with one warning",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            options: &[
                "--mem",
                "1G",
                "--dtb",
                "rockchip-cma",
                "--module-args",
                "keep_ranges=0",
                "--expect-report",
                "rk_dma_heap_(free|alloc)_contig_pages|allocation_free_wrongly|rockchip_allocate|\
                 warn_unbalanced|rk_dma_heap_put|check_unbalanced_puts",
            ],
            command: "contiguous-tests --tree rockchip-cma warnings/",
            ..GUEST
        }),
    },
    Suite {
        name: "migration",
        promise: "movable pages in an area are migrated when the heap needs the memory",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            options: &["--mem", "384M", "--dtb", "none", "--append", "cma=96M"],
            command: MIGRATION,
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "pinned",
        promise:
            "pinned pages in an area do not slow down the packed heap; an area holds at least \
                  as many buffers as with the kernel's own heaps",
        environment: Environment::Guest(Guest {
            targets: EVERYWHERE,
            wide: BESIDE_ARM64,
            options: PINNED,
            command: "contiguous-tests --tree configured pinned/ frames/",
            timeout: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "migration-checked",
        promise: "migration passes with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            // The checkers themselves use much memory.
            options: &["--mem", "512M", "--dtb", "none", "--append", "cma=96M"],
            command: MIGRATION,
            timeout: 300,
            ..GUEST
        }),
    },
];
