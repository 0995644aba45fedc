// SPDX-License-Identifier: GPL-2.0

//! Suites of the system heaps' memory: page pools, CPU caches and low memory.

use super::{
    Environment,
    Guest,
    Share,
    Suite,
    ARMHF,
    BESIDE_ARM64,
    EVERYWHERE,
    GUEST,
    MODULE_LOADED_BY_TEST,
    NO_MODULE, //
};

/// Targets with enough CPUs and memory for the pools.
const LARGE: &[&str] = &["arm64"];

/// A machine that has memory of all types, for programs that load the module themselves.
const ALL_MEMORY: &[&str] = &[
    "--no-module",
    "--mem",
    "1G",
    "--dtb",
    "all-regions",
    "--append",
    "init_on_alloc=0",
];

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
                  and invalidated for devices that do not snoop exactly when needed; devices that \
                  snoop are not attached to uncached buffers",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            wide: ARMHF,
            options: &[
                "--no-module",
                "--mem",
                "1G",
                "--dtb",
                "rockchip-cma",
                "--append",
                "init_on_alloc=0",
            ],
            command: "pool-tests mapping-types/ maintenance/ coherence/ snooping/",
            timeout: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "overlapping-mappings",
        promise:
            "the module's own mappings do not conflict with those of devices, as debugging of \
                  the DMA interface sees it",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &[
                "--no-module",
                "--mem",
                "1G",
                "--dtb",
                "rockchip-cma",
                "--append",
                // With bounce buffers nothing is reported.
                "init_on_alloc=0 swiotlb=noforce",
            ],
            command: "pool-tests maintenance/views/end-while-mapped",
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
            ..GUEST
        }),
    },
    Suite {
        name: "available",
        promise: "kept memory counts as reclaimable and available, exactly",
        environment: Environment::Guest(Guest {
            targets: EVERYWHERE,
            options: NO_MODULE,
            command: "pool-tests available/",
            ..GUEST
        }),
    },
    Suite {
        name: "reserve",
        promise: "with 1 GiB of RAM, small buffers succeed with 55 MB free, until together they \
                  would leave the kernel too little; what cannot fit is refused at once; no kill",
        environment: Environment::Guest(Guest {
            targets: EVERYWHERE,
            wide: BESIDE_ARM64,
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "1G"],
            command: "pool-tests reserve/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "prefill",
        promise: "the pool of system has pages of all sizes ready before anybody freed any, and \
                  gives them back to whoever needs them: other heaps, processes, 0, unloading",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "debug-own"],
            wide: &["armhf"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "1G"],
            command: "pool-tests prefill/",
            share: Share::Empty,
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "reuse",
        promise:
            "memory reads as zero through every mapping; after 10 s of all operations on four \
                  CPUs every counter is zero",
        environment: Environment::Guest(Guest {
            targets: LARGE,
            options: &["--no-module", "--append", "init_on_alloc=0", "--smp", "4"],
            command: "pool-tests --stress-seconds 10 zeroing/ stress/",
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
                  and others above; a device of 32 bits gets cached buffers through bounce \
                  buffers, and no uncached ones",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "debug-own"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "6G"],
            command: "pool-tests dma32/ unreachable/",
            timeout: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "large-machine",
        promise:
            "with two nodes of memory, below and above 4 GiB, what the pools keep returns to its \
                  node; the pages of a CPU that goes offline stay in use",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &[
                "--no-module",
                "--smp",
                "8",
                "--mem",
                "16G",
                "--nodes",
                "2",
                "--append",
                "init_on_alloc=0",
            ],
            command: "pool-tests large/",
            timeout: 400,
            exclusive: true,
            ..GUEST
        }),
    },
    Suite {
        name: "removed-memory",
        promise: "a block of memory that the pools keep pages of stays online, and goes offline \
                  once they are empty; heaps work without it",
        environment: Environment::Guest(Guest {
            // The 64-bit Arm kernel does not remove memory that was present at boot.
            targets: &["amd64"],
            options: &["--no-module", "--append", "init_on_alloc=0", "--mem", "2G"],
            command: "pool-tests removed/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "latency",
        promise: "with real-time preemption no section without preemption or interrupts is longer \
                  than 100,000 instructions and a period of 50,000, whatever heaps do",
        environment: Environment::Guest(Guest {
            targets: &["rt-arm64"],
            options: &[
                "--no-module",
                "--icount",
                "--smp",
                "1",
                "--append",
                "cma=64M",
            ],
            command: "pool-tests latency/",
            timeout: 600,
            ..GUEST
        }),
    },
    Suite {
        name: "carveout-importers",
        promise: "a carveout is mapped as memory, for devices that snoop and behind a bus that \
                  translates addresses too",
        environment: Environment::Guest(Guest {
            targets: MODULE_LOADED_BY_TEST,
            options: &["--no-module", "--mem", "1G", "--dtb", "no-map"],
            command: "pool-tests carveout/",
            ..GUEST
        }),
    },
    Suite {
        name: "memory-failure",
        promise: "a page whose memory has failed never comes back from a pool, the cached ranges, \
                  the reserve or a carveout, and is not mapped again: who accesses it gets SIGBUS",
        environment: Environment::Guest(Guest {
            // The 32-bit kernel does not handle failures of memory.
            targets: &["arm64"],
            options: ALL_MEMORY,
            command: "pool-tests memory-failure/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "suspend",
        promise: "with pools and reserve full, buffers keep their bytes while all processes are \
                  frozen for suspend to idle, and for hibernation, which shrinks memory, and \
                  threads go on",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: ALL_MEMORY,
            command: "pool-tests /freezer",
            timeout: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "iommu",
        promise:
            "behind an IOMMU a carveout is normal memory, each heap's memory is reachable for \
                  a device of 32 bits, and 32 MiB are mapped by 16 calls at most",
        environment: Environment::Guest(Guest {
            // QEMU's 32-bit machine has no IOMMU, and the kernels with checkers have no driver.
            targets: &["arm64"],
            options: &[
                "--no-module",
                "--mem",
                "6G",
                "--machine",
                "iommu=smmuv3",
                "--dtb",
                "iommu",
            ],
            command: "pool-tests iommu/",
            ..GUEST
        }),
    },
    Suite {
        name: "bounce-buffers",
        promise: "where all DMA goes through bounce buffers, cached buffers are right, uncached \
                  heaps are left out, and carveouts are not mapped",
        environment: Environment::Guest(Guest {
            // Debian's 32-bit kernel has no bounce buffers.
            targets: &["arm64", "debug-own"],
            options: &[
                "--no-module",
                "--mem",
                "1G",
                "--dtb",
                "no-map",
                "--append",
                // 32 MiB in slots of 2 KiB. Without a number the kernel shrinks them to 1 MiB.
                "init_on_alloc=0 swiotlb=16384,force",
            ],
            command: "pool-tests forced/",
            ..GUEST
        }),
    },
];
