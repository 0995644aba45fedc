// SPDX-License-Identifier: GPL-2.0

//! Tests that need no kernel: they run on this machine.

use super::{
    Place,
    Suite, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "programs",
        promise: "the runner, the test driver, the benchmark and what the guest tests share decide rightly; the sources keep the rules",
        place: Place::Host {
            packages: &["vm-runner", "test-driver", "guest-support", "pool-tests", "profile", "fuzz", "bench", "bench-guest"],
        },
    },
    Suite {
        name: "decisions",
        promise: "what the module decides without the kernel is right for whatever comes in",
        place: Place::Host {
            packages: &["decisions"],
        },
    },
    Suite {
        name: "rkheap-recorded",
        promise: "rkheap understands every file whatever is in it, says of recorded systems what it said before, and lets no name reach the terminal",
        place: Place::Host {
            packages: &["rkheap"],
        },
    },
];
