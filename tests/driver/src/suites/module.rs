// SPDX-License-Identifier: GPL-2.0

//! Suites that load and unload the module, also on a kernel that has heaps of its own.

use super::{
    Environment,
    Guest,
    Suite,
    GUEST,
    STOCK,
    VIVID_REPORT, //
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "module",
        promise: "the module loads and unloads 40 times without a leak, cannot be unloaded while \
                  it is in use, and refuses bad parameters",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            options: &["--no-module"],
            command: "module-tests",
            timeout: 400,
            ..GUEST
        }),
    },
    Suite {
        name: "module-checked",
        promise: "module passes with every checker; vivid's mappings cause reports",
        environment: Environment::Guest(Guest {
            targets: &["debug-own"],
            options: &["--no-module", "--expect-report", VIVID_REPORT],
            command: "module-tests",
            ..GUEST
        }),
    },
    Suite {
        name: "beside",
        promise: "on a kernel with its own heaps the module adds the missing ones and cannot be \
                  unloaded",
        environment: Environment::Guest(Guest {
            targets: &["amd64", "debug"],
            options: &["--no-module", "--append", "cma=32M"],
            // The kernel's system heap may be a module.
            command: "modprobe system_heap; module-tests module/beside/",
            ..GUEST
        }),
    },
    Suite {
        name: "found-functions",
        promise:
            "on x86 the module calls the kernel's unexported functions by direct calls, which \
                  CPUs with IBT permit",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--no-module", "--append", "cma=32M"],
            command: "module-tests module/calls/",
            ..GUEST
        }),
    },
    Suite {
        name: "beside-programs",
        promise: "the kernel's own heap and the module's heaps beside it give the same results \
                  and errors",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            options: &["--append", "cma=32M init_on_alloc=0"],
            command: "heap-tests --expect \
                      system,system-dma32,cma,cma-dma32,default_cma_region,rk-dma-heap-cma \
                      heaps/as-expected /node/ /ioctl/ \
                      dma32/limit/ region/limit/ rk-dma-heap-cma/limit/ \
                      /buffer/ /mmap/ /share/ /import/device-",
            ..GUEST
        }),
    },
];
