// SPDX-License-Identifier: GPL-2.0

//! Suites of the command-line tool `rkheap`.

use super::{
    Environment,
    Guest,
    Suite,
    ARMHF,
    GUEST,
    STOCK, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "rkheap",
        promise: "rkheap reports current, leaked and peak allocations and their addresses \
                  correctly, on a terminal and to an unprivileged user too",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            wide: ARMHF,
            // The Rockchip heap has its own area, from which no other driver allocates.
            // The tests check the gaps, so freed ranges must return to the area at once.
            options: &[
                "--mem",
                "1G",
                "--dtb",
                "rockchip-cma",
                "--module-args",
                "keep_ranges=0",
            ],
            command:
                "rkheap-tests ls/ leak/ peak/ map/ top/ alloc/ bench/ doctor/ watch/ pipe/ user/",
            ..GUEST
        }),
    },
    Suite {
        name: "rkheap-without-module",
        promise: "without the module rkheap shows what the kernel reports and names what is \
                  missing",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            options: &["--no-module"],
            command: "rkheap-tests without-module/",
            ..GUEST
        }),
    },
];
