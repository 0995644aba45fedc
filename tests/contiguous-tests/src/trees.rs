// SPDX-License-Identifier: GPL-2.0

//! The configurations with which the machine can be booted, and their expected results. A name is
//! that of the overlay in `dts/`, or one for kernel arguments; the table of suites assigns them.

use crate::areas::{
    self,
    Range, //
};
use anyhow::Result;

const MIB: u64 = 1 << 20;

/// The default area.
#[derive(Clone, Copy, Debug)]
pub enum DefaultArea {
    /// With that size, at a base that the kernel chooses.
    Size(u64),
    At(Range),
    /// Absent: the kernel has no slot for it.
    None,
}

pub struct Tree {
    pub name: &'static str,
    pub default: DefaultArea,
    /// The kernel's name of the default area; that of its node if it has one.
    pub default_name: &'static str,
    /// Areas with their own nodes; each of them is a heap. See [`Tree::areas`].
    areas: &'static [(&'static str, Range)],
    /// The area to which the Rockchip heap is bound; `None` for the default area.
    pub rockchip: Option<&'static str>,
    pub carveouts: &'static [(&'static str, Range)],
    /// Carveouts without memory behind them: the heaps exist, and are not allocated from.
    pub empty_carveouts: &'static [&'static str],
    /// Whether the kernel knows the memory of the carveouts; `mem=` hides it.
    pub carveouts_listed: bool,
    /// Regions that neither the kernel nor the module uses.
    pub untouched: &'static [Range],
    /// Lines of the kernel's log at boot, or parts of lines.
    pub boot_log: &'static [&'static str],
    /// All messages of the module when it is loaded.
    pub module_log: &'static [&'static str],
}

impl Tree {
    /// Returns the areas with their own nodes. An overlay for a kernel with larger blocks of pages
    /// has larger regions.
    pub fn areas(&self) -> Result<Vec<(&'static str, Range)>> {
        let block = areas::block()?;
        let whole = |range: &Range| Range::new(range.base, range.size.next_multiple_of(block));
        Ok(self
            .areas
            .iter()
            .map(|(name, range)| (*name, whole(range)))
            .collect())
    }

    /// Returns the size of the default area, of whole blocks of pages; 0 without one.
    pub fn default_size(&self) -> Result<u64> {
        Ok(match self.default {
            DefaultArea::At(range) => range.size,
            DefaultArea::Size(size) => size.next_multiple_of(areas::block()?),
            DefaultArea::None => 0,
        })
    }
}

/// The size in the configuration of Debian's kernel.
const CONFIGURED: DefaultArea =
    DefaultArea::Size(if cfg!(target_arch = "arm") { 128 } else { 64 } * MIB);

const NOTHING: Tree = Tree {
    name: "",
    default: CONFIGURED,
    default_name: "reserved",
    areas: &[],
    rockchip: None,
    carveouts: &[],
    empty_carveouts: &[],
    carveouts_listed: true,
    untouched: &[],
    boot_log: &[],
    module_log: &[],
};

const FRAMES: (&str, Range) = ("frames@4e000000", Range::new(0x4e00_0000, 4 * MIB));

pub const TREES: &[Tree] = &[
    Tree {
        name: "configured",
        boot_log: &["cma: Reserved "],
        ..NOTHING
    },
    Tree {
        name: "argument",
        default: DefaultArea::At(Range::new(0x4e00_0000, 32 * MIB)),
        boot_log: &["cma: Reserved 32 MiB at 0x"],
        ..NOTHING
    },
    // The parameter of a vendor's kernel.
    Tree {
        name: "vendor-argument",
        default: DefaultArea::Size(24 * MIB),
        boot_log: &["cma: Reserved 24 MiB at 0x"],
        module_log: &[concat!(
            "rk_dma_heap_cma=16M@0x4d000000: ignored, a module is loaded too late to set memory ",
            "aside; boot with cma=16M@0x4d000000, or bind rk-dma-heap-cma to a region in the ",
            "device tree"
        )],
        ..NOTHING
    },
    // Memory without a permanent kernel mapping.
    Tree {
        name: "highmem",
        default: DefaultArea::At(Range::new(0x7800_0000, 32 * MIB)),
        boot_log: &["cma: Reserved 32 MiB at 0x"],
        ..NOTHING
    },
    Tree {
        name: "memmap",
        boot_log: &["cma: Reserved "],
        ..NOTHING
    },
    Tree {
        name: "default-cma",
        default: DefaultArea::Size(24 * MIB),
        default_name: "linux,cma",
        boot_log: &[
            "Reserved memory: created CMA memory pool at 0x",
            "OF: reserved mem: initialized node linux,cma, compatible id shared-dma-pool",
        ],
        ..NOTHING
    },
    // The kernel argument overrides the node.
    Tree {
        name: "default-cma-and-argument",
        default: DefaultArea::At(Range::new(0x4e00_0000, 32 * MIB)),
        boot_log: &[
            "Skipping dt linux,cma-default node in favor for \"cma=\" kernel param.",
            "cma: Reserved 32 MiB at 0x",
        ],
        ..NOTHING
    },
    Tree {
        name: "device-cma",
        areas: &[("npu-pool@4c000000", Range::new(0x4c00_0000, 16 * MIB))],
        boot_log: &[concat!(
            "OF: reserved mem: initialized node npu-pool@4c000000, ",
            "compatible id shared-dma-pool"
        )],
        ..NOTHING
    },
    Tree {
        name: "rockchip-cma",
        areas: &[("rockchip-pool@4c000000", Range::new(0x4c00_0000, 24 * MIB))],
        rockchip: Some("rockchip-pool@4c000000"),
        boot_log: &[concat!(
            "OF: reserved mem: initialized node rockchip-pool@4c000000, ",
            "compatible id shared-dma-pool"
        )],
        ..NOTHING
    },
    Tree {
        name: "no-map",
        carveouts: &[("frames@4e000000", Range::new(0x4e00_0000, 8 * MIB))],
        untouched: &[Range::new(0x4d00_0000, 8 * MIB)],
        boot_log: &[
            "nomap non-reusable isp-memory@4d000000",
            "nomap non-reusable frames@4e000000",
        ],
        ..NOTHING
    },
    Tree {
        name: "all-regions",
        default: DefaultArea::Size(24 * MIB),
        default_name: "linux,cma",
        areas: &[
            ("npu-pool@4c000000", Range::new(0x4c00_0000, 8 * MIB)),
            ("rockchip-pool@4c800000", Range::new(0x4c80_0000, 8 * MIB)),
        ],
        rockchip: Some("rockchip-pool@4c800000"),
        carveouts: &[FRAMES],
        untouched: &[Range::new(0x4f00_0000, 8 * MIB)],
        boot_log: &[
            "map reusable linux,cma",
            "map reusable npu-pool@4c000000",
            "map reusable rockchip-pool@4c800000",
            "nomap non-reusable frames@4e000000",
            "nomap non-reusable framebuffer@4f000000",
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-alignment",
        carveouts: &[FRAMES],
        boot_log: &["Reserved memory: incorrect alignment of CMA region"],
        module_log: &[concat!(
            "rk-dma-heap: the kernel has not reserved region crooked@4c001000: ",
            "the default area is used"
        )],
        ..NOTHING
    },
    Tree {
        name: "broken-alignment-8m",
        carveouts: &[FRAMES],
        boot_log: &["Reserved memory: incorrect alignment of CMA region"],
        module_log: &[concat!(
            "rk-dma-heap: the kernel has not reserved region crooked@4c400000: ",
            "the default area is used"
        )],
        ..NOTHING
    },
    Tree {
        name: "broken-size",
        carveouts: &[FRAMES],
        module_log: &[
            "carveout-empty: the kernel has not reserved region empty@4d000000: left out",
            concat!(
                "rk-dma-heap: the kernel has not reserved region empty-pool@4c000000: ",
                "the default area is used"
            ),
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-overlap",
        // The first one in the tree; fdtoverlay reverses the order.
        carveouts: &[("inner@4e100000", Range::new(0x4e10_0000, MIB))],
        boot_log: &["OVERLAP DETECTED!"],
        module_log: &[
            "carveout-lower: region lower@4dc00000 overlaps another carveout: left out",
            "carveout: region frames@4e000000 overlaps another carveout: left out",
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-kind",
        areas: &[("pool@4d000000", Range::new(0x4d00_0000, 8 * MIB))],
        carveouts: &[FRAMES],
        module_log: &[
            "carveout-both: region both@4c000000 is both no-map and reusable: left out",
            "carveout-pool: region pool@4d000000 is not no-map: left out",
            concat!(
                "rk-dma-heap: region frames@4e000000 is not a reusable shared-dma-pool: ",
                "the default area is used"
            ),
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-nowhere",
        carveouts: &[FRAMES],
        module_log: &[
            "carveout-missing: memory-region is missing or refers to no node: left out",
            "carveout-nowhere: memory-region is missing or refers to no node: left out",
            "carveout-device: the kernel has not reserved region elsewhere: left out",
            "rk-dma-heap: memory-region is missing or refers to no node: the default area is used",
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-names",
        default: DefaultArea::Size(24 * MIB),
        default_name: "cma",
        carveouts: &[FRAMES],
        boot_log: &["map reusable cma", "nomap non-reusable system"],
        module_log: &["heap system: left out, a heap of that name already exists"],
        ..NOTHING
    },
    Tree {
        name: "broken-memory",
        carveouts: &[FRAMES],
        empty_carveouts: &["fpga-memory@a0000000"],
        module_log: &[
            concat!(
                "carveout-behind: region behind@90000000 is outside the memory that the firmware ",
                "describes: left out; correct its reg, or add rk-dma-heap,dedicated-memory to ",
                "carveout-behind if there is memory"
            ),
            concat!(
                "carveout-across: region across@7ff00000 is outside the memory that the firmware ",
                "describes: left out; correct its reg, or add rk-dma-heap,dedicated-memory to ",
                "carveout-across if there is memory"
            ),
        ],
        ..NOTHING
    },
    Tree {
        name: "broken-under-initrd",
        carveouts: &[FRAMES],
        boot_log: &["failed to reserve memory for node 'under@48000000'"],
        module_log: &[concat!(
            "carveout-under: region under@48000000 is in use as ordinary memory, the kernel could ",
            "not reserve it: left out; move it away from the kernel, its device tree and its initrd"
        )],
        ..NOTHING
    },
    // Memory above 512 MiB is described, but the kernel does not use it.
    Tree {
        name: "memory-cut",
        carveouts: &[
            ("beyond@70000000", Range::new(0x7000_0000, 4 * MIB)),
            ("dedicated@72000000", Range::new(0x7200_0000, 4 * MIB)),
        ],
        carveouts_listed: false,
        ..NOTHING
    },
    Tree {
        name: "broken-many",
        default: DefaultArea::None,
        areas: &[("pool-24@56000000", Range::new(0x5600_0000, 4 * MIB))],
        rockchip: Some("pool-24@56000000"),
        carveouts: &[FRAMES],
        boot_log: &["cma: Not enough slots for CMA reserved regions!"],
        module_log: &[concat!(
            "heaps cma and default_cma_region: left out, the kernel has no default CMA area; ",
            "boot with cma=SIZE to have one"
        )],
        ..NOTHING
    },
    Tree {
        name: "many-regions",
        areas: &[
            ("pool-0@50000000", Range::new(0x5000_0000, 8 * MIB)),
            ("pool-1@50800000", Range::new(0x5080_0000, 8 * MIB)),
            ("pool-2@51000000", Range::new(0x5100_0000, 8 * MIB)),
            ("pool-3@51800000", Range::new(0x5180_0000, 8 * MIB)),
            ("pool-4@52000000", Range::new(0x5200_0000, 8 * MIB)),
            ("pool-5@52800000", Range::new(0x5280_0000, 8 * MIB)),
            ("pool-6@53000000", Range::new(0x5300_0000, 8 * MIB)),
        ],
        rockchip: Some("pool-6@53000000"),
        carveouts: &[FRAMES],
        ..NOTHING
    },
];
