// SPDX-License-Identifier: GPL-2.0

//! The short cut through a further kernel of Debian.

use super::{
    Environment,
    Guest,
    Report,
    Share,
    Suite,
    GUEST, //
};

/// Loads vgem, for the selftest, unless the kernel is built without it.
macro_rules! selftest {
    () => {
        "{ modprobe vgem || ! grep /vgem.ko: /lib/modules/*/modules.dep; } && /share/dmabuf-heap"
    };
}

/// The defaults of a short cut.
const SHORT_CUT: Guest = Guest {
    only_alike: true,
    options: &["--mem", "1G", "--append", "init_on_alloc=0 cma=48M"],
    share: Share::KernelSelftest("dmabuf-heaps"),
    report: Report::ExitStatus,
    ..GUEST
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "short-cut",
        promise:
            "on a further kernel the module loads, the kernel's selftest passes, one heap of each \
                  type works, the debug nodes cover every dma-buf, and the module unloads",
        environment: Environment::Guest(Guest {
            targets: &["arm64"],
            command: concat!(
                selftest!(),
                " && heap-tests --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma \
                 /node/ /buffer/ /mmap/every && \
                 rmmod rk_dma_heap && ! ls /dev/dma_heap && \
                 debug-node-tests size/every-exporter dev/rows buffers/every-exporter \
                 lifetime/releases-beside-a-reader"
            ),
            ..SHORT_CUT
        }),
    },
    Suite {
        name: "short-cut-beside",
        promise: "the same beside a kernel's own heaps, where a heap cannot be removed; the debug \
                  nodes count the buffers of another driver",
        environment: Environment::Guest(Guest {
            targets: &["amd64"],
            command: concat!(
                selftest!(),
                " && heap-tests --heaps system,system-dma32,cma,rk-dma-heap-cma \
                 /node/ /buffer/ /mmap/every && ! rmmod rk_dma_heap && \
                 { rkheap-tests --hold-vgem 30 & } && sleep 5 && \
                 grep 'Total: 1664 KiB' /proc/rk_dmabuf/size"
            ),
            ..SHORT_CUT
        }),
    },
];
