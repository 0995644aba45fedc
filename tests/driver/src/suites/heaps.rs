// SPDX-License-Identifier: GPL-2.0

//! Suites of heaps and buffers as programs and importing drivers use them.

use super::{
    Environment,
    Guest,
    Report,
    Share,
    Suite,
    ARMHF,
    GUEST,
    STOCK,
    VIVID_REPORT, //
};

/// The command that runs the guest tests of these groups, on a machine with exactly the heaps that
/// the module registers there. With `of_each_kind` only one heap of each type is tested; the other
/// names stand for the same memory. With `other_names` those are tested, and the heaps that have
/// one name only.
macro_rules! heap_tests {
    ($groups:expr) => {
        concat!(
            "heap-tests --expect system,system-dma32,system-uncached,system-uncached-dma32,",
            "cma,cma-dma32,cma-uncached,cma-uncached-dma32,default_cma_region,rk-dma-heap-cma ",
            "heaps/as-expected ",
            $groups
        )
    };
    ($groups:expr, of_each_kind) => {
        concat!(
            heap_tests!($groups),
            " --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma"
        )
    };
    ($groups:expr, other_names) => {
        concat!(
            heap_tests!($groups),
            " --heaps system,system-dma32,system-uncached-dma32,cma-dma32,cma-uncached-dma32,\
             default_cma_region,rk-dma-heap-cma"
        )
    };
}

/// The groups of tests that need no importing driver.
macro_rules! programs {
    () => {
        concat!(
            "--node /dev/rk_dma_heap/rk-dma-heap-cma ",
            "/node/ /ioctl/ /limit/ /buffer/ /mmap/ /share/ /endure/"
        )
    };
}

const IMPORT_TESTS: &str = heap_tests!("/import/", of_each_kind);

/// Tests the heap of the overlay `device-cma`.
const DEVICE_AREA_TESTS: &str = "heap-tests npu-pool@4c000000/";

pub const SUITES: &[Suite] = &[
    Suite {
        name: "demo",
        promise: "the demonstration of `make run` works",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            command: "heap-demo && rmmod rk_dma_heap && ! ls /dev/dma_heap",
            report: Report::ExitStatus,
            ..GUEST
        }),
    },
    Suite {
        name: "selftest",
        promise: "the kernel's dmabuf-heaps selftest passes on every heap",
        environment: Environment::Guest(Guest {
            // The selftest holds 32 buffers of 1 MiB per heap, more than a small machine has.
            options: &["--mem", "1G", "--append", "init_on_alloc=0 cma=48M"],
            needs: &["vgem"],
            command: "modprobe vgem && /share/dmabuf-heap",
            share: Share::KernelSelftest("dmabuf-heaps"),
            ..GUEST
        }),
    },
    Suite {
        name: "udmabuf-selftest",
        promise: "the kernel's udmabuf selftest passes beside the module, which sees its buffers",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            // Its last tests use a file of 1,024 huge pages of 2 MiB.
            options: &["--mem", "4G", "--append", "hugepagesz=2M hugepages=1024"],
            command: "echo 0 > /proc/rk_dmabuf/peak && /share/udmabuf && \
                      read name bytes unit < /proc/rk_dmabuf/peak_bytes && [ $bytes -ge 16384 ] && \
                      grep -q 'Total: 0 KiB' /proc/rk_dmabuf/size",
            share: Share::KernelSelftest("drivers/dma-buf"),
            ..GUEST
        }),
    },
    Suite {
        name: "heaps",
        promise: "device nodes, sysfs and the allocation ioctl match the kernel's own heaps in \
                  every error too; descriptors, mappings and sharing between processes work; \
                  10,000 rounds leak no memory; heaps-of-each-kind tests the other names",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            command: heap_tests!(programs!(), other_names),
            timeout: 480,
            ..GUEST
        }),
    },
    Suite {
        name: "heaps-of-each-kind",
        promise: "heaps passes for one heap of each type, on a machine with all memory below \
                  4 GiB, and with every checker",
        environment: Environment::Guest(Guest {
            targets: &["armhf", "debug"],
            command: heap_tests!(programs!(), of_each_kind),
            timeout: 480,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-32-bit",
        promise: "32-bit programs get the same results from a 64-bit kernel",
        environment: Environment::Guest(Guest {
            targets: &["arm64", "debug"],
            command: "/share/heap-tests \
                      system/ioctl/ system/limit/ system/buffer/ system/mmap/ system/share/",
            share: Share::Programs {
                triple: "armv7-unknown-linux-gnueabihf",
            },
            ..GUEST
        }),
    },
    Suite {
        name: "importers",
        promise: "kernel drivers attach to buffers, map them for DMA and for the CPU, and may \
                  hold the last reference",
        environment: Environment::Guest(Guest {
            targets: STOCK,
            wide: ARMHF,
            needs: &["vgem", "vivid"],
            command: IMPORT_TESTS,
            ..GUEST
        }),
    },
    Suite {
        name: "importers-checked",
        promise: "importers passes with every checker; vivid's mappings cause reports",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &[
                "--append",
                "init_on_alloc=0",
                "--expect-report",
                VIVID_REPORT,
            ],
            needs: &["vgem", "vivid"],
            command: IMPORT_TESTS,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area",
        promise: "a heap on a device's own area behaves like any other heap",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            options: &[
                "--mem",
                "1G",
                "--dtb",
                "device-cma",
                "--append",
                "init_on_alloc=0",
            ],
            command: DEVICE_AREA_TESTS,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-area-checked",
        promise: "programs-area passes with every checker; vivid's mappings cause reports",
        environment: Environment::Guest(Guest {
            targets: &["debug"],
            options: &[
                "--mem",
                "1G",
                "--dtb",
                "device-cma",
                "--append",
                "init_on_alloc=0",
                "--expect-report",
                VIVID_REPORT,
            ],
            command: DEVICE_AREA_TESTS,
            ..GUEST
        }),
    },
    Suite {
        name: "programs-carveout",
        promise: "a heap on a no-map region behaves like any other heap",
        environment: Environment::Guest(Guest {
            wide: ARMHF,
            options: &[
                "--mem",
                "1G",
                "--dtb",
                "no-map",
                "--append",
                "init_on_alloc=0",
            ],
            command: "heap-tests frames@4e000000/",
            ..GUEST
        }),
    },
];
