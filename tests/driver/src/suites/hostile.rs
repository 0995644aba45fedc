// SPDX-License-Identifier: GPL-2.0

//! Tests inside the kernel, allocations that fail, and random calls.

use super::{
    Guest,
    Place,
    Suite,
    GUEST,
    STOCK, //
};

/// What may be reported of the kernel's exporter udmabuf: it maps a buffer once and syncs it in
/// whatever direction a program says; and it joins pages that lie side by side, to segments longer
/// than its device takes.
const UDMABUF: &str =
    "misc udmabuf: (device driver syncs|mapping sg segment longer than device claims to support)";

pub const SUITES: &[Suite] = &[
    Suite {
        name: "kunit",
        promise: "the tests inside the module pass, and the examples in its documentation",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &[],
            // What the kernel keeps for each suite is a list of its own; here they become parts of
            // one.
            command: "cd /sys/kernel/debug/kunit && set -- rk_dma_heap_* && echo 'KTAP version 1' && echo \"1..$#\" && n=0 && \
                      for suite; do n=$((n + 1)); sed -E \"1,/^1\\.\\./d; s/^(not )?ok [0-9]+ /\\1ok $n /\" $suite/results; done",
            ..GUEST
        }),
    },
    Suite {
        name: "faults",
        promise: "each allocation that an operation makes may fail: the error is right, nothing is lost, and the next attempt succeeds",
        place: Place::Guest(Guest {
            targets: &["debug"],
            // It gives up for good when its own allocations fail.
            options: &["--append", "dma_debug=off"],
            command: "fault-tests open/ allocate/ mmap/ name/ attach/ map/ cpu-access/ interface/ read write exhausted/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-vmap",
        promise: "so may those that a mapping for the kernel needs, though the kernel warns of that",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "dma_debug=off", "--expect-report", "dma_buf_vmap"],
            command: "fault-tests kernel-mapping/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "faults-loading",
        promise: "so may those that the module makes while it is loaded",
        place: Place::Guest(Guest {
            targets: &["debug-own"],
            options: &["--no-module", "--append", "dma_debug=off kunit.enable=0 kmemleak=off"],
            command: "fault-tests load/",
            limit: 300,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz",
        promise: "whatever root and an ordinary user call from eight processes at once: memory is zero and keeps what was written, errors are those that may come, nobody hangs, nothing is left",
        place: Place::Guest(Guest {
            targets: STOCK,
            // The seed is fixed, so that a run can be compared with the one before; `make fuzz`
            // takes others.
            command: "fuzz --seed 1 --seconds 30",
            limit: 180,
            ..GUEST
        }),
    },
    Suite {
        name: "fuzz-checked",
        promise: "the same for three minutes, with every checker on",
        place: Place::Guest(Guest {
            targets: &["debug"],
            options: &["--append", "init_on_alloc=0", "--allow-report", UDMABUF],
            command: "fuzz --seed 2 --seconds 180 --hang 60",
            limit: 300,
            ..GUEST
        }),
    },
];
