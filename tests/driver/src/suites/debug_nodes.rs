// SPDX-License-Identifier: GPL-2.0

//! What `/proc/rk_dmabuf` says.

use super::{
    Guest,
    Place,
    Suite,
    GUEST,
    OWN_MODULE, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "debug-nodes",
        promise: "the debug nodes are exact about every dma-buf in the system, whoever exported it; names; who may see what",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: OWN_MODULE,
            command: "debug-node-tests size/ peak/ dev/ sgt/ buffers/ names/ advanced/ access/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-stress",
        promise: "they stay whole and exact while eight threads allocate, map, attach and free",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: OWN_MODULE,
            command: "debug-node-tests stress/",
            alone: true,
            ..GUEST
        }),
    },
    Suite {
        name: "debug-nodes-in-one",
        promise: "debug-nodes and debug-stress, shorter",
        place: Place::Guest(Guest {
            targets: &["armhf", "debug-own"],
            options: OWN_MODULE,
            command: "debug-node-tests --stress 10 size/ peak/ dev/ sgt/ buffers/ names/ advanced/ access/ stress/",
            ..GUEST
        }),
    },
    Suite {
        name: "debug-cost",
        promise: "a line of theirs costs no more than 3,000 instructions, with 10,000 buffers too",
        place: Place::Guest(Guest {
            targets: &["arm64"],
            options: &["--no-module", "--icount", "--smp", "1"],
            command: "debug-node-tests cost/",
            limit: 300,
            ..GUEST
        }),
    },
];
