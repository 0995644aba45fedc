// SPDX-License-Identifier: GPL-2.0

//! Suites of devices that access buffers by an engine of their own.
//!
//! QEMU's device `edu` moves 4096 bytes in a tenth of a second of the machine's clock. That clock
//! counts instructions here, and jumps to the end of a move when the CPUs have nothing to do.

use super::{
    Environment,
    Guest,
    Suite,
    GUEST, //
};

/// The options of a machine with these kernel arguments, and with more options.
macro_rules! machine {
    ($append:literal $(, $option:literal)*) => {
        &["--icount", "--smp", "1", "--append", $append $(, $option)*]
    };
}

/// The defaults of these suites: two devices, which reach all memory below 4 GiB.
const DEVICES: Guest = Guest {
    targets: &["arm64"],
    timeout: 180,
    ..GUEST
};

pub const SUITES: &[Suite] = &[
    Suite {
        name: "devices",
        promise: "two devices with a DMA engine and the CPU read in the buffers of each heap what \
                  the others wrote, whoever maps them first; devices that snoop are not attached \
                  to uncached ones",
        environment: Environment::Guest(Guest {
            options: machine!(
                "init_on_alloc=0 cma=64M",
                "--device",
                "edu,dma_mask=0xffffffff",
                "--device",
                "edu,dma_mask=0xffffffff"
            ),
            command: "device-tests --devices 2",
            ..DEVICES
        }),
    },
    Suite {
        name: "devices-out-of-reach",
        promise: "no buffer is mapped for devices that no memory is within reach of",
        environment: Environment::Guest(Guest {
            // The kernel warns of the driver, which goes on without a mask that it can use.
            options: machine!(
                "init_on_alloc=0 cma=64M",
                "--device",
                "edu",
                "--expect-report",
                "rk-edu .*overflow"
            ),
            command: "device-tests --dma-bits 28 --refused all",
            ..DEVICES
        }),
    },
    Suite {
        name: "devices-smmu",
        promise: "behind Arm's IOMMU devices of 28 address bits reach the buffers of each heap, \
                  and do not write what is mapped for reading",
        environment: Environment::Guest(Guest {
            options: machine!(
                "init_on_alloc=0 cma=64M",
                "--iommu",
                "smmuv3",
                "--device",
                "edu",
                "--device",
                "edu"
            ),
            command: "device-tests --devices 2 --dma-bits 28 --iommu \
                      --heaps system,system-uncached,cma,cma-uncached,rk-dma-heap-cma",
            ..DEVICES
        }),
    },
    // There is no suite with `--iommu virtio`. QEMU's model looks up an address together with the
    // next one, so it may translate the last byte of a mapping by the mapping behind it. A move
    // that begins with that byte accesses another page then. `parts` fails because of that on the
    // system heaps, whose pages are scattered; behind the SMMU and without an IOMMU it passes.
    Suite {
        name: "devices-bounced",
        promise: "through bounce buffers the bytes of devices and CPU are right, and syncs fail \
                  that would have to maintain memory for devices without an attachment",
        environment: Environment::Guest(Guest {
            // As in the suite bounce-buffers.
            options: machine!(
                "init_on_alloc=0 cma=64M swiotlb=16384,force",
                "--device",
                "edu,dma_mask=0xffffffff",
                "--device",
                "edu,dma_mask=0xffffffff"
            ),
            command: "device-tests --devices 2 --copied all --not-synced rk-dma-heap-cma \
                      --heaps system,cma,rk-dma-heap-cma",
            ..DEVICES
        }),
    },
    Suite {
        name: "devices-above-4g",
        promise: "with 6 GiB of RAM devices of 32 address bits reach cached buffers above 4 GiB \
                  through bounce buffers, uncached ones are not mapped, and others are accessed \
                  directly",
        environment: Environment::Guest(Guest {
            options: machine!(
                "init_on_alloc=0 cma=64M",
                "--mem",
                "6G",
                "--device",
                "edu,dma_mask=0xffffffff",
                "--device",
                "edu,dma_mask=0xffffffff"
            ),
            command: "device-tests --devices 2 --copied system --refused system-uncached \
                      --heaps system,system-dma32,system-uncached,cma,cma-uncached",
            ..DEVICES
        }),
    },
];
