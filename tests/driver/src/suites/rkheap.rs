// SPDX-License-Identifier: GPL-2.0

//! The command-line tool.

use super::{
    Guest,
    Place,
    Suite,
    GUEST,
    STOCK, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "rkheap",
        promise: "rkheap is right about what is allocated, left behind and taken at the most, and where it lies; on a terminal; to an ordinary user",
        place: Place::Guest(Guest {
            targets: STOCK,
            // The Rockchip heap has an area of its own, which nobody else takes from.
            // What is freed is free: gaps are looked at.
            options: &["--mem", "1G", "--dtb", "rockchip-cma", "--module-args", "keep_ranges=0"],
            command: "rkheap-tests ls/ leak/ peak/ map/ top/ alloc/ bench/ pipe/ user/",
            ..GUEST
        }),
    },
    Suite {
        name: "rkheap-without-module",
        promise: "without the module it shows what the kernel knows, and says what is missing",
        place: Place::Guest(Guest {
            targets: STOCK,
            options: &["--no-module"],
            command: "rkheap-tests without-module/",
            ..GUEST
        }),
    },
];
