// SPDX-License-Identifier: GPL-2.0

//! The module itself: loading, unloading, and what it finds in a kernel that has heaps.

use super::{
    Guest,
    Place,
    Suite,
    GUEST,
    STOCK,
    VIVID, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "module",
        promise: "loads and unloads a hundred times and leaves nothing; stays while it is needed; refuses bad parameters",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--no-module"],
            command: "module-tests",
            limit: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "module-checked",
        promise: "the same with every checker on; of vivid's mappings there are reports",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: &["--no-module", "--expect-report", VIVID],
            command: "module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "beside",
        promise: "on a kernel that has heaps itself, the module adds those that are missing, and stays",
        place: Place::Guest(Guest {
            targets: &["amd64", "debug"],
            options: &["--no-module", "--append", "cma=32M"],
            // A kernel's own heap may be a module.
            command: "modprobe system_heap; module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "beside-programs",
        promise: "the kernel's own heap and the module's beside it answer alike, in every error too",
        place: Place::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=32M init_on_alloc=0"],
            command: "heap-tests --expect system,system-dma32,cma,cma-dma32,default_cma_region,rk-dma-heap-cma \
                      heaps/as-expected /node/ /ioctl/ dma32/limit/ region/limit/ rk-dma-heap-cma/limit/ /buffer/ /mmap/ /share/",
            ..GUEST
        }),
    },
];
