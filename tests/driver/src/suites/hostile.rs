// SPDX-License-Identifier: GPL-2.0

//! KUnit tests, fault injection and random calls.

use super::{
    Environment,
    Guest,
    Suite,
    GUEST,
    STOCK, //
};

/// Reports that the kernel's exporter udmabuf may cause. It maps a buffer once and syncs it in the
/// direction that a program requests. It also merges adjacent pages into segments longer than its
/// device claims to support.
const UDMABUF_REPORT: &str =
    "misc udmabuf: (device driver syncs|mapping sg segment longer than device claims to support)";

pub const SUITES: &[Suite] = &[
    Suite {
        name: "kunit",
        promise: "the module's KUnit tests and documentation examples pass",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &[],
            // The kernel keeps one KTAP document per suite. This merges them into one document.
            command: "cd /sys/kernel/debug/kunit && set -- rk_dma_heap_* && \
                      echo 'KTAP version 1' && echo \"1..$#\" && n=0 && \
                      for suite; do n=$((n + 1)); \
                      sed -E \"1,/^1\\.\\./d; s/^(not )?ok [0-9]+ /\\1ok $n /\" $suite/results; \
                      done",
            ..GUEST
        }),
    },
    Suite {
        name: "faults",
        promise: "if any allocation of an operation fails, the error is correct, nothing leaks, \
                  and the next attempt succeeds",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            // DMA-API debugging disables itself permanently if one of its own allocations fails.
            options: &["--append", "dma_debug=off"],
            command: "fault-tests open/ allocate/ mmap/ name/ attach/ map/ cpu-access/ interface/ \
                      read write exhausted/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-beyond",
        promise: "the same on a machine without areas, where contiguous memory is RAM",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "dma_debug=off cma=0"],
            command: "fault-tests beyond/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-vmap",
        promise: "the same for the allocations of a kernel mapping, about which the kernel warns",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &[
                "--append",
                "dma_debug=off",
                "--expect-report",
                "dma_buf_vmap",
            ],
            command: "fault-tests kernel-mapping/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-loading",
        promise: "the same for the allocations of the module's initialisation",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &[
                "--no-module",
                "--append",
                "dma_debug=off kunit.enable=0 kmemleak=off",
            ],
            command: "fault-tests load/",
            timeout: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz",
        promise: "under random calls of eight processes, root and unprivileged, memory is zeroed \
                  and keeps its contents, errors are expected ones, no call hangs, nothing leaks",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            // The seed is fixed so that runs can be compared. `make fuzz` uses other seeds.
            command: "fuzz --seed 1 --seconds 15",
            timeout: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz-checked",
        promise: "fuzz passes for three minutes with every checker",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &[
                "--append",
                "init_on_alloc=0",
                "--allow-report",
                UDMABUF_REPORT,
            ],
            command: "fuzz --seed 2 --seconds 180 --hang 60",
            timeout: 300,
            ..GUEST
        }),
    },
];
