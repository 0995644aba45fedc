// SPDX-License-Identifier: GPL-2.0

//! Suites of contiguous memory: heaps from device trees, placement of buffers, and the interface
//! for drivers.

use super::{
    Environment,
    Guest,
    Report,
    Suite,
    ARMHF,
    BESIDE_ARM64,
    EVERYWHERE,
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

/// The files in `/tmp` must be large enough for most of memory.
const BEYOND: &str = "mount -o remount,size=95% /tmp && contiguous-tests --tree configured beyond/";

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
        promise: "bitmaps passes where the kernel has a registry of heaps",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=64M", "--module-args", "keep_ranges=0"],
            command: "contiguous-tests --tree argument bitmap/",
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
        name: "beyond-no-area",
        promise: "without any area (cma=0) the heaps of the default area and of Rockchip have \
                  memory, as many frames as RAM permits, also between pages of files; nobody is \
                  killed, requests that cannot be served fail soon, and the limit is kept",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "1G", "--append", "cma=0 init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      no-area/ killed/ beyond/",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-no-area-checked",
        promise: "ranges of RAM are taken, given back, refused and interrupted with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &["--mem", "1G", "--append", "cma=0 init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      beyond/heaps beyond/too-large beyond/page-array beyond/returned \
                      beyond/frames-after-files beyond/killed beyond/pinned beyond/unload \
                      beyond/off",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-small-area",
        promise:
            "with Debian's area of 64 MiB, 512 MiB of frames fit, also between pages of files, \
                  and those for 32-bit devices are below 4 GiB; so are the others as long as the \
                  kernel can spare low memory",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "4G", "--append", "init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      low-memory/ beyond/",
            timeout: 900,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-136m",
        promise:
            "a 32-bit machine with 136 MiB and an area of 16 MiB has 48 MiB of contiguous memory",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &[
                "--mem",
                "136M",
                "--append",
                "cma=16M init_on_alloc=0",
                "--module-args",
                "contig_max_percent=50",
            ],
            command: "export CONTIG_MAX_PERCENT=50; contiguous-tests --tree configured \
                      beyond/too-large beyond/frames-below-4-gib beyond/little-memory",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-136m-no-area",
        promise: "a 32-bit machine with 136 MiB and without an area has the heaps",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &["--mem", "136M", "--append", "cma=0 init_on_alloc=0"],
            command: "contiguous-tests --tree configured beyond/heaps beyond/too-large \
                      beyond/page-array beyond/returned",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-highmem",
        promise: "high memory serves the heaps of contiguous memory too",
        environment: Environment::Guest(Guest {
            targets: &["armhf"],
            options: &["--mem", "1G", "--append", "cma=16M init_on_alloc=0"],
            command: BEYOND,
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "beyond-amd64",
        promise: "the heaps have memory beyond their area where the kernel has a registry of heaps",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=16M init_on_alloc=0"],
            command: "mount -o remount,size=95% /tmp && contiguous-tests --tree configured \
                      beyond/heaps beyond/too-large beyond/page-array beyond/returned \
                      beyond/frames beyond/limit beyond/killed killed/waiting \
                      beyond/pinned beyond/little-memory",
            timeout: 600,
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
