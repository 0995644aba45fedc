// SPDX-License-Identifier: GPL-2.0

//! The memory of the system heaps: page pools, caches, memory that is short.

use super::{
    Guest,
    Place,
    Suite,
    GUEST,
    LOADED_BY_TESTS,
    OWN_MODULE, //
};

/// Where there are enough CPUs and memory.
const LARGE: &[&str] = &["arm64"];

pub const SUITES: &[Suite] = &[
    Suite {
        name: "pools",
        promise: "pools keep to their bounds; figures, tracepoints and cgroup charges are true",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: OWN_MODULE,
            command: "pool-tests client/ undeclared/ bounds/ totals/ tracepoints/ accounting/",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "caches",
        promise: "page tables say cached or write-combined; for devices that do not snoop, caches are looked after where needed and nowhere else",
        place: Place::Guest(Guest {
            targets: LOADED_BY_TESTS,
            options: &["--no-module", "--mem", "1G", "--dtb", "rockchip-cma", "--append", "init_on_alloc=0"],
            command: "pool-tests mapping-types/ maintenance/ coherence/",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "pressure",
        promise: "pools give way before anybody is killed; unloading gives all back; a thousand kills lose no memory",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: OWN_MODULE,
            command: "pool-tests pressure/ unload/ killed/",
            limit: 300,
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "reuse",
        promise: "memory is always zeroed, by whatever way one looks; after 30 s of everything on four CPUs all counters are zero",
        place: Place::Guest(Guest {
            targets: LARGE,
            options: &["--no-module", "--append", "init_on_alloc=0", "--smp", "4"],
            command: "pool-tests zeroing/ stress/",
            limit: 360,
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "pools-checked",
        promise: "pools, pressure and reuse with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: OWN_MODULE,
            command: "pool-tests --stress-seconds 10 client/ bounds/ totals/ tracepoints/ accounting/ pressure/ unload/ \
                      killed/ zeroing/ stress/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "low-memory",
        promise: "with 6 GiB of RAM, dma32 buffers lie below 4 GiB also when that is scarce, and others above",
        place: Place::Guest(Guest {
            targets: &["arm64", "debug-own"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "6G"],
            command: "pool-tests dma32/",
            limit: 180,
            ..GUEST
        }),
    },
];
