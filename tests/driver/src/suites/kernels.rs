// SPDX-License-Identifier: GPL-2.0

//! The short cut through a further kernel of Debian.

use super::{
    Environment,
    Guest,
    Report,
    Share,
    Suite,
    FURTHER_KERNELS,
    GUEST, //
};

pub const SUITES: &[Suite] = &[Suite {
    name: "short-cut",
    promise:
        "on a further kernel the module loads, the kernel's selftest passes, one heap of each \
              type works, the debug nodes cover every dma-buf, and the module unloads",
    environment: Environment::Guest(Guest {
        targets: FURTHER_KERNELS,
        options: &["--mem", "1G", "--append", "init_on_alloc=0 cma=48M"],
        command: "modprobe vgem && /share/dmabuf-heap && \
                  heap-tests --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma \
                  /node/ /buffer/ /mmap/every && \
                  rmmod rk_dma_heap && ! ls /dev/dma_heap && \
                  debug-node-tests size/every-exporter dev/rows buffers/every-exporter \
                  lifetime/releases-beside-a-reader",
        share: Share::KernelSelftest("dmabuf-heaps"),
        report: Report::ExitStatus,
        ..GUEST
    }),
}];
