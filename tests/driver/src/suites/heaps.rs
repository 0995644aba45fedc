// SPDX-License-Identifier: GPL-2.0

//! What programs see of heaps and buffers, and drivers that attach to them.

use super::{
    Guest,
    Place,
    Report,
    Share,
    Suite,
    GUEST,
    STOCK,
    VIVID, //
};

/// The guest tests of these groups, on a machine that has exactly the heaps that the module is to
/// make there; on all of them, or on one of each kind: the others' names stand for the same memory.
macro_rules! heap_tests {
    ($groups:expr) => {
        concat!(
            "heap-tests --expect system,system-dma32,system-uncached,system-uncached-dma32,",
            "cma,cma-dma32,cma-uncached,cma-uncached-dma32,default_cma_region,rk-dma-heap-cma ",
            "heaps/as-expected ",
            $groups
        )
    };
    ($groups:expr, of_each_kind) => {
        concat!(
            heap_tests!($groups),
            " --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma"
        )
    };
}

/// The groups of tests that need no driver of the kernel's.
macro_rules! programs {
    () => {
        "--node /dev/rk_dma_heap/rk-dma-heap-cma /node/ /ioctl/ /limit/ /buffer/ /mmap/ /share/ /endure/"
    };
}

const IMPORTERS: &str = heap_tests!("/import/", of_each_kind);

/// The heap that `device-cma` makes.
const AREA: &str = "heap-tests npu-pool@4c000000/";

pub const SUITES: &[Suite] = &[
    Suite {
        name: "demo",
        promise: "what `make run` shows works",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: "heap-demo && rmmod rk_dma_heap && ! ls /dev/dma_heap",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "selftest",
        promise: "the kernel's own dmabuf-heaps selftest passes on every heap",
        place: Place::Guest(Guest {
            // It wants 32 buffers of 1 MiB from each heap at a time, more than a small machine has.
            options: &["--mem", "1G", "--append", "init_on_alloc=0 cma=48M"],
            command: "modprobe vgem && /share/dmabuf-heap",
            share: Share::KernelSelftest("dmabuf-heaps"),
            ..GUEST
        }),
    },
    Suite {
        name: "heaps",
        promise: "nodes, sysfs and the allocation ioctl are as the kernel's own, in every error too; descriptors, mappings and sharing between processes; ten thousand rounds lose no memory",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            command: heap_tests!(programs!()),
            limit: 480,
            ..GUEST
        }),
    },
    Suite {
        name: "heaps-of-each-kind",
        promise: "the same for one heap of each kind: a small machine's memory all lies below 4 GiB, and checkers are slow",
        place: Place::Guest(Guest {
            targets: &["armhf", "debug"],
            command: heap_tests!(programs!(), of_each_kind),
            limit: 480,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-32-bit",
        promise: "32-bit programs get the same answers from a 64-bit kernel",
        place: Place::Guest(Guest {
            targets: &["arm64", "debug"],
            command: "/share/heap-tests system/ioctl/ system/limit/ system/buffer/ system/mmap/ system/share/",
            share: Share::Programs {
                triple: "armv7-unknown-linux-gnueabihf",
            },
            ..GUEST
        }),
    },
    Suite {
        name: "importers",
        promise: "drivers of the kernel attach to buffers, map them for DMA and for the CPU, and may be their last holder",
        place: Place::Guest(Guest {
            targets: STOCK,
            command: IMPORTERS,
            ..GUEST
        }),
    },
    Suite {
        name: "importers-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "init_on_alloc=0", "--expect-report", VIVID],
            command: IMPORTERS,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area",
        promise: "a heap over a device's own area is a heap like any other",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--mem", "1G", "--dtb", "device-cma", "--append", "init_on_alloc=0"],
            command: AREA,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--mem", "1G", "--dtb", "device-cma", "--append", "init_on_alloc=0", "--expect-report", VIVID],
            command: AREA,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-carveout",
        promise: "so is one over a region that the kernel keeps out of",
        place: Place::Guest(Guest {
            options: &["--mem", "1G", "--dtb", "no-map", "--append", "init_on_alloc=0"],
            command: "heap-tests frames@4e000000/",
            ..GUEST
        }),
    },
];
