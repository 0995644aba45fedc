// SPDX-License-Identifier: GPL-2.0

//! Suites of the nodes in `/proc/rk_dmabuf`.

use super::{
    Environment,
    Guest,
    Suite,
    ARMHF,
    GUEST,
    NO_MODULE,
    STOCK, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "debug-nodes",
        promise: "the debug nodes are exact for every dma-buf in the system, whichever driver \
                  exported it; names and access rights are correct",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            wide: ARMHF,
            options: NO_MODULE,
            command: "debug-node-tests size/ peak/ dev/ sgt/ buffers/ lifetime/ names/ advanced/ \
                      access/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-stress",
        promise: "the debug nodes stay consistent and exact while eight threads allocate, map, \
                  attach and free",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            wide: ARMHF,
            options: NO_MODULE,
            command: "debug-node-tests --stress 10 stress/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-nodes-in-one",
        promise: "debug-nodes and a shorter debug-stress pass on one machine",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: NO_MODULE,
            command: "debug-node-tests --stress 10 \
                      size/ peak/ dev/ sgt/ buffers/ lifetime/ names/ advanced/ access/ stress/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-cost",
        promise: "one line of a debug node costs at most 3,000 instructions (4,000 with \
                  PREEMPT_RT), with 10,000 buffers too",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &["--no-module", "--icount", "--smp", "1"],
            command: "debug-node-tests cost/",
            timeout: 300,
            ..GUEST
        }),
    },
];
