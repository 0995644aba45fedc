// SPDX-License-Identifier: GPL-2.0

//! Suites that run on the host and need no kernel.

use super::{
    Environment,
    Suite, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "programs",
        promise: "unit tests of the runner, the test driver, the benchmark and the code shared by \
                  guest tests pass; the sources follow the repository's rules",
        environment: Environment::Host {
            packages: &[
                "vm-runner",
                "test-driver",
                "guest-support",
                "pool-tests",
                "profile",
                "fuzz",
                "bench",
                "bench-guest",
            ],
        },
    },
    Suite {
        name: "decisions",
        promise: "the module code that needs no kernel gives correct results for any input",
        environment: Environment::Host {
            packages: &["decisions"],
        },
    },
    Suite {
        name: "rkheap-recorded",
        promise: "rkheap parses files with any content, prints the expected output for recorded \
                  systems, and escapes every name that it prints",
        environment: Environment::Host {
            packages: &["rkheap"],
        },
    },
];
