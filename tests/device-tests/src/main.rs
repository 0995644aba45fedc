// SPDX-License-Identifier: GPL-2.0

//! Tests that devices with a DMA engine and the CPU read in buffers what the other one wrote, or
//! that the buffer is not attached to the device or not mapped for it, because they would not.
//!
//! The engine takes a tenth of a second for 4096 bytes, so the clock of the machine has to be a
//! virtual one: `qemu/vm --icount --device edu,dma_mask=0xffffffff`.

mod border;
mod cpu;
mod one;
mod refused;
mod two;

use anyhow::{
    ensure,
    Result, //
};
use clap::Parser;
use guest_support::edu::{
    self,
    Device, //
};
use guest_support::heap;
use guest_support::ktap::{
    Options,
    Tests, //
};
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

/// One MiB.
const MIB: usize = 1 << 20;

/// Let devices with a DMA engine access the buffers of every heap, and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// Number of the devices
    #[arg(long, value_name = "N", default_value_t = 1)]
    devices: usize,

    /// Number of the devices' DMA address bits, as in the machine's dma_mask
    #[arg(long, value_name = "N", default_value_t = 32)]
    dma_bits: u32,

    /// Test only these heaps
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    heaps: Vec<String>,

    /// The devices are behind an IOMMU
    #[arg(long)]
    iommu: bool,

    /// Heaps with memory that the devices access through bounce buffers; `all`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    copied: Vec<String>,

    /// Heaps with memory that the devices cannot access at all; `all`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    refused: Vec<String>,

    /// Heaps whose buffers cannot be synced while they are mapped for no device; `all`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    not_synced: Vec<String>,

    #[command(flatten)]
    options: Options,
}

/// Whether devices access memory through the CPU's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caches {
    /// They do, as QEMU's firmware says of its PCI bus.
    Snooped,
    /// They do not, says their driver.
    Passed,
}

impl Caches {
    fn name(self) -> &'static str {
        match self {
            Caches::Snooped => "snooping",
            Caches::Passed => "past-caches",
        }
    }
}

/// A heap and the devices that access its buffers.
#[derive(Clone, Debug)]
struct Case {
    heap: String,
    caches: Caches,
    dma_bits: u32,
}

impl Case {
    /// Loads the driver and opens its devices.
    fn devices(&self) -> Result<Vec<Device>> {
        let snoops = u8::from(self.caches == Caches::Snooped);
        edu::reload(&format!("dma_bits={} snoops={snoops}", self.dma_bits))?;
        Device::all()
    }
}

/// What a test does with its case.
type Body = fn(&Case) -> Result<()>;

/// The virtual time of a test that moves each size once, and gives the CPU time to look at it.
const LIMIT: Duration = Duration::from_secs(1200);

/// Checks that the machine has that many devices, and an IOMMU before them.
fn machine(expected: usize, iommu: bool) -> Result<()> {
    edu::reload("")?;
    let devices = Device::all()?.len();
    ensure!(devices == expected, "{devices} devices");
    let mut groups = Vec::new();
    for entry in fs::read_dir("/sys/bus/pci/drivers/rk-edu")? {
        let folder = entry?.path();
        if folder.join("vendor").exists() {
            groups.push(fs::read_to_string(folder.join("iommu_group/type")).unwrap_or_default());
        }
    }
    ensure!(groups.len() == devices, "{groups:?}");
    ensure!(
        groups.iter().all(|kind| kind.starts_with("DMA") == iommu),
        "kinds of translation by an IOMMU: {groups:?}"
    );
    Ok(())
}

fn lists(names: &[String], heap: &str) -> bool {
    names.iter().any(|name| name == heap || name == "all")
}

fn add(tests: &mut Tests, case: &Case, name: &str, body: Body) {
    let name = format!("{}/{}/{name}", case.heap, case.caches.name());
    let case = case.clone();
    tests.add_within(LIMIT, name, move || body(&case));
}

fn add_heap(tests: &mut Tests, arguments: &Arguments, case: &Case) {
    let heap = case.heap.as_str();
    if case.caches == Caches::Snooped && heap.contains("uncached") {
        return add(tests, case, "refused", refused::not_attached);
    }
    if lists(&arguments.refused, heap) {
        return add(tests, case, "refused", refused::not_mapped);
    }
    if lists(&arguments.not_synced, heap) {
        return add(tests, case, "not-synced", refused::not_synced);
    }
    let copied = lists(&arguments.copied, heap);
    match copied {
        true => add(tests, case, "copied", one::copied),
        false => add(tests, case, "direct", one::direct),
    }
    for (name, body) in one::CASES {
        add(tests, case, name, *body);
    }
    if arguments.iommu {
        add(tests, case, "read-only", one::read_only);
    }
    if arguments.devices > 1 {
        add(tests, case, "two-in-turn", two::in_turn);
        // A sync for the CPU copies the bounce buffer of each device to the memory.
        if !copied {
            add(tests, case, "two-at-once", two::at_once);
        }
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut heaps = heap::names()?;
    if !arguments.heaps.is_empty() {
        let missing = arguments.heaps.iter().find(|name| !heaps.contains(name));
        ensure!(missing.is_none(), "no heap {missing:?} in {heaps:?}");
        heaps.retain(|name| arguments.heaps.contains(name));
    }
    ensure!(!heaps.is_empty(), "no heap in {}", heap::HEAP_DIRECTORY);
    let mut tests = Tests::default();
    let (devices, iommu) = (arguments.devices, arguments.iommu);
    tests.add("machine/as-expected", move || machine(devices, iommu));
    for caches in [Caches::Snooped, Caches::Passed] {
        for heap in &heaps {
            let case = Case {
                heap: heap.clone(),
                caches,
                dma_bits: arguments.dma_bits,
            };
            if caches == Caches::Snooped && heap == "system" {
                border::add(&mut tests, &case, lists(&arguments.refused, heap));
            }
            add_heap(&mut tests, &arguments, &case);
        }
    }
    Ok(tests.run(&arguments.options))
}
