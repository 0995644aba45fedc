// SPDX-License-Identifier: GPL-2.0

//! Cache maintenance, counted: the kernel does it for the client's device, which does not snoop the
//! CPU's caches, and probes on the two functions that do it tell for which memory.
//!
//! QEMU without KVM has no caches: what the instructions behind these functions achieve cannot be
//! seen there, but which memory they are given can, and that is all the module decides.

use crate::cpu::stay_on_cpu;
use crate::figures::Figures;
use crate::trace::{
    Event,
    Probe,
    Trace, //
};
use crate::HEAPS;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Attachment,
    Client,
    Direction,
    Segment, //
};
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::page_size;

pub fn add(tests: &mut Tests) {
    for heap in HEAPS {
        tests.add(format!("maintenance/for-importers/{heap}"), move || {
            for_importers(heap)
        });
        tests.add(format!("maintenance/handing-out/{heap}"), move || {
            handing_out(heap)
        });
    }
    for heap in CONTIGUOUS {
        tests.add(format!("maintenance/for-importers/{heap}"), move || {
            for_importers(heap)
        });
        tests.add(format!("maintenance/handing-out/{heap}"), move || {
            handing_out_contiguous(heap)
        });
    }
}

/// Heaps of contiguous memory, one of each kind. They have no pools.
const CONTIGUOUS: [&str; 3] = ["cma", "cma-uncached", "rk-dma-heap-cma"];

const PAGES: usize = 256 + 16 + 3;

/// The first two arguments of both functions. The kernel knows arguments by their place on some
/// architectures only.
#[cfg(not(target_arch = "arm"))]
const ARGUMENTS: &str = "address=$arg1:x64 size=$arg2:u64";
#[cfg(target_arch = "arm")]
const ARGUMENTS: &str = "address=%r0:x32 size=%r1:u32";

/// Sees every piece of memory for which caches are looked after.
struct Watch {
    // Dropped before the probes, which could not be removed otherwise.
    trace: Trace,
    _probes: [Probe; 2],
}

/// Bytes of a buffer for which caches were looked after.
#[derive(Debug, PartialEq, Eq)]
struct Maintenance {
    for_device: u64,
    for_cpu: u64,
}

const NONE: Maintenance = Maintenance {
    for_device: 0,
    for_cpu: 0,
};

impl Watch {
    fn start() -> Result<Watch> {
        let probes = [
            Probe::of("arch_sync_dma_for_device", ARGUMENTS)?,
            Probe::of("arch_sync_dma_for_cpu", ARGUMENTS)?,
        ];
        let trace = Trace::of(&[probes[0].event(), probes[1].event()])?;
        Ok(Watch {
            trace,
            _probes: probes,
        })
    }

    /// What was done to these segments since the last time.
    fn take(&self, segments: &[Segment]) -> Result<Maintenance> {
        let events = self.trace.take()?;
        let bytes = |function| -> Result<u64> {
            let ranges = ranges(&events, function)?;
            Ok(ranges.iter().map(|range| overlap(segments, *range)).sum())
        };
        Ok(Maintenance {
            for_device: bytes("arch_sync_dma_for_device")?,
            for_cpu: bytes("arch_sync_dma_for_cpu")?,
        })
    }
}

/// Address and size of each call of `function`.
fn ranges(events: &[Event], function: &str) -> Result<Vec<(u64, u64)>> {
    let events = events.iter().filter(|event| event.name == function);
    events
        .map(|event| Ok((event.number("address")?, event.number("size")?)))
        .collect()
}

/// How many bytes of the range lie in the segments.
fn overlap(segments: &[Segment], (address, size): (u64, u64)) -> u64 {
    let segments = segments.iter().map(|segment| {
        let start = segment.physical_address.max(address);
        let end = (segment.physical_address + segment.length).min(address + size);
        end.saturating_sub(start)
    });
    segments.sum()
}

fn expect(what: &str, found: Maintenance, expected: Maintenance) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: {found:?}, expected {expected:?}"
    );
    Ok(())
}

/// Maps, accesses and unmaps with one and with two importers. Each mapping and each access has to
/// reach all of the buffer once for each device that has it mapped, or nothing at all.
fn for_importers(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let cached = !name.contains("uncached");
    let bytes = |times: u64| {
        if cached {
            times * (PAGES * page_size()) as u64
        } else {
            0
        }
    };

    let first = client.import(&buffer)?;
    let segments = first.segments()?;
    let watch = Watch::start()?;
    let second = client.attach(&buffer)?;
    expect("attach", watch.take(&segments)?, NONE)?;
    second.map(Direction::Both)?;
    let mapped = Maintenance {
        for_device: bytes(1),
        for_cpu: 0,
    };
    expect("map", watch.take(&segments)?, mapped)?;

    access(&watch, &buffer, &second, &segments, bytes(2)).context("two importers")?;
    second.unmap()?;
    let unmapped = Maintenance {
        for_device: 0,
        for_cpu: bytes(1),
    };
    expect("unmap", watch.take(&segments)?, unmapped)?;
    access(&watch, &buffer, &second, &segments, bytes(1)).context("one importer")?;
    drop(second);
    expect("detach", watch.take(&segments)?, NONE)?;

    drop((first, watch, buffer, heap));
    module.unload()
}

fn access(
    watch: &Watch,
    buffer: &Buffer,
    attachment: &Attachment<'_>,
    segments: &[Segment],
    bytes: u64,
) -> Result<()> {
    let begun = || Maintenance {
        for_device: 0,
        for_cpu: bytes,
    };
    let ended = || Maintenance {
        for_device: bytes,
        for_cpu: 0,
    };
    buffer.sync(SYNC_START | SYNC_RW)?;
    expect("DMA_BUF_SYNC_START", watch.take(segments)?, begun())?;
    buffer.sync(SYNC_END | SYNC_RW)?;
    expect("DMA_BUF_SYNC_END", watch.take(segments)?, ended())?;
    attachment.begin_cpu_access(Direction::Both)?;
    expect("begin_cpu_access", watch.take(segments)?, begun())?;
    attachment.end_cpu_access(Direction::Both)?;
    expect("end_cpu_access", watch.take(segments)?, ended())
}

/// Checks that maintenance for a device has reached every byte of the segments, and each once.
fn expect_cleaned_once(what: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    for segment in segments {
        let mut at = segment.physical_address;
        let end = at + segment.length;
        let mut inside: Vec<_> = ranges(events, "arch_sync_dma_for_device")?
            .into_iter()
            .filter(|range| overlap(&[*segment], *range) > 0)
            .collect();
        inside.sort_unstable();
        for (address, size) in inside {
            ensure!(
                address == at,
                "{what}: cleaned from {address:#x} on, expected from {at:#x}"
            );
            at += size;
        }
        ensure!(
            at == end,
            "{what}: cleaned up to {at:#x}, expected up to {end:#x}"
        );
    }
    Ok(())
}

// Memory that will be mapped past the caches is cleaned, exactly it, once before it is handed out:
// when it is fresh, and when it has come back and was zeroed. What a pool holds ready costs nothing
// more.
fn handing_out(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    // A CPU may keep single pages for itself.
    stay_on_cpu(0)?;
    for pages in [1, 256 + 32] {
        check_handing_out(name, &client, pages).with_context(|| format!("{pages} pages"))?;
    }
    module.unload()
}

fn check_handing_out(name: &str, client: &Client, pages: usize) -> Result<()> {
    let heap = Heap::open(name)?;
    let segments_of = |buffer: &Buffer| -> Result<Vec<Segment>> {
        let mut segments = client.import(buffer)?.segments()?;
        segments.sort_by_key(|segment| segment.physical_address);
        Ok(segments)
    };
    let watch = Watch::start()?;
    let buffer = heap.allocate(pages * page_size())?;
    let fresh = watch.trace.take()?;
    let segments = segments_of(&buffer)?;
    watch.trace.clear()?;
    drop(buffer);
    Figures::settled()?;
    let returned = watch.trace.take()?;
    let buffer = heap.allocate(pages * page_size())?;
    let pooled = watch.trace.take()?;
    ensure!(
        segments_of(&buffer)? == segments,
        "the buffer did not come out of the pool"
    );

    if name.contains("uncached") {
        expect_cleaned_once("fresh memory", &fresh, &segments)?;
        expect_cleaned_once("memory that came back", &returned, &segments)?;
    } else {
        expect_not_cleaned("fresh memory", &fresh, &segments)?;
        expect_not_cleaned("memory that came back", &returned, &segments)?;
    }
    expect_not_cleaned("memory from the pool", &pooled, &segments)
}

fn expect_not_cleaned(what: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    let ranges = ranges(events, "arch_sync_dma_for_device")?;
    ensure!(
        ranges.iter().all(|range| overlap(segments, *range) == 0),
        "{what} was cleaned for no reason: {ranges:x?}"
    );
    Ok(())
}

// Without a pool all memory is fresh, and it is nobody's business once it has come back.
fn handing_out_contiguous(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("keep_ranges=0")?;
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    for _ in 0..2 {
        let buffer = heap.allocate(PAGES * page_size())?;
        let fresh = watch.trace.take()?;
        let segments = client.import(&buffer)?.segments()?;
        watch.trace.clear()?;
        drop(buffer);
        let returned = watch.trace.take()?;
        if name.contains("uncached") {
            expect_cleaned_once("fresh memory", &fresh, &segments)?;
        } else {
            expect_not_cleaned("fresh memory", &fresh, &segments)?;
        }
        expect_not_cleaned("memory that came back", &returned, &segments)?;
    }
    drop((heap, watch));
    module.unload()
}
