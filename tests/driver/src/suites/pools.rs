// SPDX-License-Identifier: GPL-2.0

//! Suites of the system heaps' memory: page pools, CPU caches and low memory.

use super::{
    Environment,
    Guest,
    Suite,
    GUEST,
    MODULE_LOADED_BY_TEST,
    NO_MODULE, //
};

/// Targets with enough CPUs and memory for the pools.
const LARGE: &[&str] = &["arm64"];

pub const SUITES: &[Suite] = &[
    Suite {
        name: "pools",
        promise: "pools stay within their limits; counters, tracepoints and cgroup charges are \
                  correct",
        environment: Environment::Guest(Guest {
            targets: LARGE,
            options: NO_MODULE,
            command: "pool-tests client/ undeclared/ bounds/ totals/ tracepoints/ accounting/",
            timeout: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "caches",
        promise: "page tables map memory cached or write-combined as required; caches are cleaned \
                  and invalidated for devices that do not snoop exactly when needed",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            options: &[
                "--no-module",
                "--mem",
                "1G",
                "--dtb",
                "rockchip-cma",
                "--append",
                "init_on_alloc=0",
            ],
            command: "pool-tests mapping-types/ maintenance/ coherence/",
            timeout: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "pressure",
        promise: "pools are reclaimed before the OOM killer is triggered; unloading frees all \
                  memory; 1,000 kills leak none",
        environment: Environment::Guest(Guest {
            targets: LARGE,
            options: NO_MODULE,
            command: "pool-tests pressure/ unload/ killed/",
            timeout: 300,
            exclusive: true,
            ..GUEST
        }),
    },
    Suite {
        name: "available",
        promise: "kept memory counts as reclaimable and available, exactly",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "armhf", "amd64", "debug-own"],
            options: NO_MODULE,
            command: "pool-tests available/",
            ..GUEST
        }),
    },
    Suite {
        name: "reserve",
        promise:
            "with 1 GiB of RAM, small buffers succeed as long as the kernel's own allocations \
                  do; what cannot fit is refused at once, without a kill",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "armhf", "amd64", "debug-own"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "1G"],
            command: "pool-tests reserve/",
            exclusive: true,
            ..GUEST
        }),
    },
    Suite {
        name: "reuse",
        promise:
            "memory reads as zero through every mapping; after 30 s of all operations on four \
                  CPUs every counter is zero",
        environment: Environment::Guest(Guest {
            targets: LARGE,
            options: &["--no-module", "--append", "init_on_alloc=0", "--smp", "4"],
            command: "pool-tests zeroing/ stress/",
            timeout: 360,
            exclusive: true,
            ..GUEST
        }),
    },
    Suite {
        name: "pools-checked",
        promise: "pools, pressure and reuse pass with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: NO_MODULE,
            command: "pool-tests --stress-seconds 10 client/ bounds/ totals/ tracepoints/ \
                      accounting/ pressure/ unload/ killed/ zeroing/ stress/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "low-memory",
        promise: "with 6 GiB of RAM dma32 buffers are below 4 GiB even if that memory is scarce, \
                  and others above",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "debug-own"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "6G"],
            command: "pool-tests dma32/",
            timeout: 180,
            ..GUEST
        }),
    },
];
