// SPDX-License-Identifier: GPL-2.0

//! Devices to which a carveout is mapped, and devices behind an IOMMU.

use crate::importers::{
    check_device,
    fill_by_device,
    need_memory_above,
    with_client,
    CARVEOUT, //
};
use crate::trace::{
    Probe,
    Trace, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    Client,
    View, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::pattern::Pattern;
use std::fs;

pub fn add(tests: &mut Tests) {
    tests.add("carveout/mapped-as-memory", carveout_as_memory);
    tests.add("carveout/snooping-device", carveout_snooping);
    tests.add("carveout/behind-a-bus", carveout_behind_a_bus);
    tests.add("iommu/carveout-as-memory", iommu_carveout);
    tests.add("iommu/all-memory-is-reachable", iommu_reachable);
    tests.add("iommu/map-calls", iommu_map_calls);
}

/// Returns the attributes of each call by which a contiguous range is mapped for a device.
fn attributes(body: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
    let trace = Trace::of(&["dma/dma_map_phys"])?;
    body()?;
    trace
        .take()?
        .iter()
        .filter(|event| event.name == "dma_map_phys")
        .map(|event| Ok(event.text("attrs")?.to_owned()))
        .collect()
}

// A mapping of a device's registers has the wrong memory type behind an IOMMU, and no translation
// of addresses behind a bus.
fn carveout_as_memory() -> Result<()> {
    with_client("", |client| {
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let attributes = attributes(|| {
            drop(client.import(&buffer)?);
            Ok(())
        })?;
        ensure!(
            attributes.len() == 1
                && attributes[0].contains("SKIP_CPU_SYNC")
                && !attributes[0].contains("MMIO"),
            "the carveout was mapped with {attributes:?}"
        );
        check_both_ways(client, &buffer)
    })
}

// No cache has lines of a carveout, so a device that snoops reads the memory too.
fn carveout_snooping() -> Result<()> {
    with_client("coherent=1", |client| {
        check_both_ways(client, &Heap::open(CARVEOUT)?.allocate(MIB)?)
    })
}

fn carveout_behind_a_bus() -> Result<()> {
    const OFFSET: u64 = 1 << 30;
    with_client("", |_| {
        let client = Client::open_device("rkvdec@ffa60000")?;
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let segments = client.import(&buffer)?.segments()?;
        ensure!(
            segments.len() == 1
                && segments[0].dma_address + OFFSET == segments[0].physical_address
                && segments[0].physical_address == 0x4e00_0000,
            "the bus does not translate the addresses: {segments:x?}"
        );
        check_both_ways(&client, &buffer)
    })
}

/// Loads a client that must be behind an IOMMU.
fn with_iommu(parameters: &str, body: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
    with_client(parameters, |client| {
        let group = "/sys/bus/platform/devices/ffa50000.rkvenc/iommu_group/type";
        let group = fs::read_to_string(group).context("the device has no IOMMU")?;
        ensure!(group.starts_with("DMA"), "the IOMMU does not translate");
        body(client)
    })
}

// `prot` is the fifth argument; these are its flags.
fn iommu_carveout() -> Result<()> {
    const READ_WRITE: u64 = 3;
    with_iommu("", |client| {
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let probe = Probe::of("iommu_map", "size=%x3 prot=%x4:x32")?;
        let trace = Trace::of(&[probe.event()])?;
        drop(client.import(&buffer)?);
        let events = trace.take()?;
        drop(trace);
        let calls: Vec<_> = events
            .iter()
            .map(|event| Ok((event.number("size")?, event.number("prot")?)))
            .collect::<Result<_>>()?;
        ensure!(
            calls == [(MIB as u64, READ_WRITE)],
            "the IOMMU mapped (size, flags) {calls:x?}"
        );
        check_both_ways(client, &buffer)
    })
}

// An IOMMU reaches memory that the device's 32 bits do not, so nothing is refused or split.
fn iommu_reachable() -> Result<()> {
    need_memory_above()?;
    with_iommu("dma_bits=32", |client| {
        for name in ["system-uncached", "system"] {
            let buffer = Heap::open(name)?.allocate(16 * MIB)?;
            let segments = client.import(&buffer)?.segments()?;
            ensure!(
                segments.len() == 1 && segments[0].dma_address < 1 << 32,
                "{name}: {segments:x?}"
            );
            ensure!(
                segments[0].physical_address >= 1 << 32,
                "{name}: the memory is not above 4 GiB: {segments:x?}"
            );
        }
        check_both_ways(client, &Heap::open("system-uncached")?.allocate(MIB)?)
    })
}

// An IOMMU is programmed once for each run of contiguous pages, whatever the number of entries. The
// kernel's own heap has runs of 1 MiB at most.
fn iommu_map_calls() -> Result<()> {
    const SIZE: usize = 32 * MIB;
    with_iommu("", |client| {
        for (name, most) in [("system", SIZE / (2 * MIB)), ("cma", 1)] {
            let buffer = Heap::open(name)?.allocate(SIZE)?;
            let trace = Trace::of(&["iommu/map"])?;
            let device = client.import(&buffer)?;
            let events = trace.take()?;
            drop((device, trace));
            let sizes = events
                .iter()
                .filter(|event| event.name == "map")
                .map(|event| event.number("size"))
                .collect::<Result<Vec<_>>>()?;
            diagnose(&format!("{name}: {} calls", sizes.len()));
            ensure!(
                sizes.iter().sum::<u64>() == SIZE as u64 && sizes.len() <= most,
                "{name}: the IOMMU mapped {sizes:?}"
            );
        }
        Ok(())
    })
}

/// Checks that device and CPU read what the other has written, without cache maintenance.
fn check_both_ways(client: &Client, buffer: &Buffer) -> Result<()> {
    let size = buffer.size()?;
    let mapping = buffer.map()?;
    let device = client.import(buffer)?;
    mapping.fill(Pattern(4), 0);
    check_device(&device, View::Uncached, Pattern(4), size)?;
    fill_by_device(&device, View::Uncached, Pattern(5), size)?;
    mapping
        .check(Pattern(5), 0)
        .context("what the device has written")
}
