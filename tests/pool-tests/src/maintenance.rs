// SPDX-License-Identifier: GPL-2.0

//! Counts cache maintenance. The kernel performs it for the client's device, which does not snoop
//! the CPU's caches, and kprobes on the two functions that perform it report the memory ranges.
//!
//! QEMU without KVM has no caches. The effect of the instructions in these functions is invisible
//! there, but their ranges are not, and the module determines only the ranges.

use crate::cpu::bind_to_cpu;
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
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::page_size;
use std::thread::sleep;
use std::time::Duration;

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
        tests.add(format!("maintenance/handing-out-kept/{heap}"), move || {
            handing_out_kept(heap)
        });
    }
    tests.add(
        "maintenance/handing-out-from-another-heap",
        handing_out_from_another_heap,
    );
    for heap in ["system", "cma"] {
        tests.add(format!("maintenance/in-any-order/{heap}"), move || {
            in_any_order(heap)
        });
    }
    for heap in Iterator::chain(HEAPS.into_iter(), CONTIGUOUS) {
        tests.add(format!("maintenance/without-importers/{heap}"), move || {
            without_importers(heap)
        });
    }
}

/// Heaps of contiguous memory, one per mapping and pool type. They have no page pools.
const CONTIGUOUS: [&str; 3] = ["cma", "cma-uncached", "rk-dma-heap-cma"];

const PAGES: usize = 256 + 16 + 3;

/// The first two arguments of both functions. Only some architectures have $argN.
#[cfg(not(target_arch = "arm"))]
const ARGUMENTS: &str = "address=$arg1:x64 size=$arg2:u64";
#[cfg(target_arch = "arm")]
const ARGUMENTS: &str = "address=%r0:x32 size=%r1:u32";

/// Traces all cache maintenance.
struct Watch {
    // Dropped before the probes, which cannot be removed while they are traced.
    trace: Trace,
    _probes: [Probe; 2],
}

/// Bytes of a buffer with cache maintenance.
#[derive(Debug, PartialEq, Eq)]
struct Maintenance {
    for_device: u64,
    for_cpu: u64,
}

const NONE: Maintenance = Maintenance {
    for_device: 0,
    for_cpu: 0,
};

const fn for_device(bytes: u64) -> Maintenance {
    Maintenance {
        for_device: bytes,
        for_cpu: 0,
    }
}

const fn for_cpu(bytes: u64) -> Maintenance {
    Maintenance {
        for_device: 0,
        for_cpu: bytes,
    }
}

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

    /// Returns the maintenance of these segments since the last call.
    fn take(&self, segments: &[Segment]) -> Result<Maintenance> {
        maintenance(&self.trace.take()?, segments)
    }
}

/// Returns the maintenance of these segments.
fn maintenance(events: &[Event], segments: &[Segment]) -> Result<Maintenance> {
    let bytes = |function| -> Result<u64> {
        let ranges = ranges(events, function)?;
        Ok(ranges.iter().map(|range| overlap(segments, *range)).sum())
    };
    Ok(Maintenance {
        for_device: bytes("arch_sync_dma_for_device")?,
        for_cpu: bytes("arch_sync_dma_for_cpu")?,
    })
}

/// Returns address and size of each call of `function`.
fn ranges(events: &[Event], function: &str) -> Result<Vec<(u64, u64)>> {
    let events = events.iter().filter(|event| event.name == function);
    events
        .map(|event| Ok((event.number("address")?, event.number("size")?)))
        .collect()
}

/// Returns the number of bytes of the range that are in the segments.
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

/// Maps, accesses and unmaps with one and with two importers. Each mapping and each access must
/// cover the whole buffer once per device that has it mapped, or nothing at all.
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

    // A second user of the same attachment takes over the memory like the first one.
    second.map(Direction::Both)?;
    let mapped_again = Maintenance {
        for_device: bytes(1),
        for_cpu: 0,
    };
    expect("map again", watch.take(&segments)?, mapped_again)?;
    second.unmap()?;
    let unmapped_once = Maintenance {
        for_device: 0,
        for_cpu: bytes(1),
    };
    expect("unmap once", watch.take(&segments)?, unmapped_once)?;

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

/// The heap whose buffers programs pass by physical address to devices that never attach.
const FOR_ADDRESSES: &str = "rk-dma-heap-cma";

/// CPU access to a buffer that no importer has mapped: no maintenance, except on the heap for
/// devices that never attach.
fn without_importers(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let bytes = if name == FOR_ADDRESSES {
        (PAGES * page_size()) as u64
    } else {
        0
    };

    // The addresses of a buffer are not known before an importer has mapped it.
    let watch = Watch::start()?;
    buffer.sync(SYNC_START | SYNC_RW)?;
    let begun = watch.trace.take()?;
    buffer.sync(SYNC_END | SYNC_RW)?;
    let ended = watch.trace.take()?;
    let attachment = client.import(&buffer)?;
    let segments = attachment.segments()?;
    attachment.unmap()?;
    let begun = maintenance(&begun, &segments)?;
    expect("begin, never attached", begun, for_cpu(bytes))?;
    let ended = maintenance(&ended, &segments)?;
    expect("end, never attached", ended, for_device(bytes))?;

    watch.trace.clear()?;
    access(&watch, &buffer, &attachment, &segments, bytes).context("attached, not mapped")?;
    drop(attachment);
    watch.trace.clear()?;
    for flags in [SYNC_RW, SYNC_READ] {
        buffer.sync(SYNC_START | flags)?;
        expect("begin, detached", watch.take(&segments)?, for_cpu(bytes))?;
    }
    for flags in [SYNC_RW, SYNC_WRITE] {
        buffer.sync(SYNC_END | flags)?;
        expect("end, detached", watch.take(&segments)?, for_device(bytes))?;
    }
    // A device that has the buffer mapped stands for all.
    let attachment = client.import(&buffer)?;
    watch.trace.clear()?;
    let mapped = if name.contains("uncached") {
        0
    } else {
        (PAGES * page_size()) as u64
    };
    access(&watch, &buffer, &attachment, &segments, mapped).context("mapped")?;

    drop((attachment, watch, buffer, heap));
    module.unload()
}

/// Checks that maintenance for a device covers every byte of the segments exactly once.
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
                "{what}: cleaned from {address:#x}, expected from {at:#x}"
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

// Memory that will be mapped uncached is cleaned exactly once before it is allocated: fresh memory
// during the allocation, freed memory after it was zeroed. Pooled memory needs no further
// maintenance.
fn handing_out(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    // A CPU may keep single pages in its own list.
    bind_to_cpu(0)?;
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
        "the buffer is not from the pool"
    );

    if name.contains("uncached") {
        expect_cleaned_once("fresh memory", &fresh, &segments)?;
        expect_cleaned_once("freed memory", &returned, &segments)?;
    } else {
        expect_not_cleaned("fresh memory", &fresh, &segments)?;
        expect_not_cleaned("freed memory", &returned, &segments)?;
    }
    expect_not_cleaned("pooled memory", &pooled, &segments)
}

fn expect_not_cleaned(what: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    let ranges = ranges(events, "arch_sync_dma_for_device")?;
    ensure!(
        ranges.iter().all(|range| overlap(segments, *range) == 0),
        "{what} was cleaned unnecessarily: {ranges:x?}"
    );
    Ok(())
}

// Without a pool all memory is fresh, and freed memory needs no maintenance.
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
        expect_prepared("fresh memory", name, &fresh, &segments)?;
        expect_not_cleaned("freed memory", &returned, &segments)?;
    }
    drop((heap, watch));
    module.unload()
}

/// Checks that memory was prepared for a heap. Zeroes that are in the caches only would be
/// discarded by a sync without importers.
fn expect_prepared(what: &str, name: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    if name.contains("uncached") || name == FOR_ADDRESSES {
        expect_cleaned_once(what, events, segments)
    } else {
        expect_not_cleaned(what, events, segments)
    }
}

/// Allocates a buffer. Returns it with its memory, and the maintenance during the allocation.
fn allocate_watched(
    watch: &Watch,
    client: &Client,
    heap: &Heap,
) -> Result<(Buffer, Vec<Segment>, Vec<Event>)> {
    watch.trace.clear()?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let events = watch.trace.take()?;
    let segments = client.import(&buffer)?.segments()?;
    watch.trace.clear()?;
    Ok((buffer, segments, events))
}

/// Longer than a freed range waits for its preparation, shorter than it is kept.
const PREPARATION: Duration = Duration::from_millis(300);

/// A freed range that is kept is prepared by the thread, and no more maintenance is needed when it
/// is allocated again.
fn handing_out_kept(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    let (mut buffer, segments, _) = allocate_watched(&watch, &client, &heap)?;
    for _ in 0..2 {
        drop(buffer);
        sleep(PREPARATION);
        let returned = watch.trace.take()?;
        let (again, memory, kept) = allocate_watched(&watch, &client, &heap)?;
        ensure!(memory == segments, "the buffer is not from the kept range");
        expect_prepared("freed memory", name, &returned, &segments)?;
        expect_not_cleaned("kept memory", &kept, &segments)?;
        buffer = again;
    }
    drop((buffer, heap, watch));
    module.unload()
}

/// What another heap of the same area has freed was not prepared for devices that never attach.
fn handing_out_from_another_heap() -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    // The area of the Rockchip heap has a heap of its own name if it is not the default one.
    let area = std::fs::read_dir("/dev/dma_heap")?
        .filter_map(|node| node.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("rockchip-pool"));
    let other = Heap::open(area.as_deref().unwrap_or("cma"))?;
    let heap = Heap::open(FOR_ADDRESSES)?;
    let watch = Watch::start()?;
    let (buffer, segments, _) = allocate_watched(&watch, &client, &other)?;
    drop(buffer);
    sleep(PREPARATION);
    let (buffer, again, events) = allocate_watched(&watch, &client, &heap)?;
    ensure!(again == segments, "the buffer is not from the kept range");
    expect_cleaned_once("memory of the other heap", &events, &segments)?;
    // The other way around everything is prepared.
    drop(buffer);
    sleep(PREPARATION);
    let (buffer, again, events) = allocate_watched(&watch, &client, &other)?;
    ensure!(again == segments, "the buffer is not from the kept range");
    expect_not_cleaned("memory of the Rockchip heap", &events, &segments)?;
    drop((buffer, heap, other, watch));
    module.unload()
}

/// Each device that has the buffer mapped is part of each sync, in whatever order they came and
/// whichever has gone.
fn in_any_order(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let unmapped_last = client.import(&buffer)?;
    let segments = unmapped_last.segments()?;
    let watch = Watch::start()?;
    let synced = |devices: usize| -> Result<()> {
        watch.trace.clear()?;
        buffer.sync(SYNC_START | SYNC_RW)?;
        let bytes = (devices * PAGES * page_size()) as u64;
        let what = format!("{devices} devices");
        expect(&what, watch.take(&segments)?, for_cpu(bytes))?;
        Ok(buffer.sync(SYNC_END | SYNC_RW)?)
    };
    // The last one that was mapped is the first, a middle one, or the last one to be unmapped.
    for order in [[2, 0, 1], [1, 2, 0], [0, 1, 2]] {
        let others = [(); 3].map(|()| client.attach(&buffer));
        let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
        // An attachment that is not mapped changes nothing.
        synced(1)?;
        for (count, other) in others.iter().enumerate() {
            other.map(Direction::Both)?;
            synced(2 + count)?;
        }
        for (count, index) in order.into_iter().enumerate() {
            others[index].unmap()?;
            synced(3 - count)?;
        }
    }
    unmapped_last.unmap()?;
    drop((watch, unmapped_last, buffer, heap));
    module.unload()
}
