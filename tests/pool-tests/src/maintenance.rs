// SPDX-License-Identifier: GPL-2.0

//! Counts cache maintenance. The kernel performs it for the client's device, which does not snoop
//! the CPU's caches, and kprobes on the two functions that perform it report the memory ranges.
//!
//! QEMU without KVM has no caches. The effect of the instructions in these functions is invisible
//! there, but their ranges are not, and the module determines only the ranges.

mod handing_out;
mod views;
mod watch;

use self::watch::{
    expect,
    for_cpu,
    for_device,
    maintenance,
    Maintenance,
    Watch,
    NONE, //
};
use crate::HEAPS;
use anyhow::{
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

pub fn add(tests: &mut Tests) {
    views::add(tests);
    for heap in HEAPS {
        tests.add(format!("maintenance/for-importers/{heap}"), move || {
            with_buffer(heap, |client, buffer| for_importers(heap, client, buffer))
        });
        tests.add(format!("maintenance/handing-out/{heap}"), move || {
            handing_out::from_a_pool(heap)
        });
    }
    for heap in CONTIGUOUS {
        tests.add(format!("maintenance/for-importers/{heap}"), move || {
            with_buffer(heap, |client, buffer| for_importers(heap, client, buffer))
        });
        tests.add(format!("maintenance/handing-out/{heap}"), move || {
            handing_out::contiguous(heap)
        });
        tests.add(format!("maintenance/handing-out-kept/{heap}"), move || {
            handing_out::kept(heap)
        });
    }
    tests.add(
        "maintenance/handing-out-from-another-heap",
        handing_out::from_another_heap,
    );
    for heap in ["system", "cma"] {
        tests.add(format!("maintenance/in-any-order/{heap}"), move || {
            with_buffer(heap, in_any_order)
        });
        tests.add(format!("maintenance/left-mapped/{heap}"), move || {
            with_buffer(heap, left_mapped)
        });
    }
    for heap in Iterator::chain(HEAPS.into_iter(), CONTIGUOUS) {
        tests.add(format!("maintenance/without-importers/{heap}"), move || {
            with_buffer(heap, |client, buffer| {
                without_importers(heap, client, buffer)
            })
        });
    }
    tests.add("maintenance/beside-a-reader", || {
        with_buffer(FOR_ADDRESSES, beside_a_reader)
    });
}

/// Adds tests with other devices. The last one must come after all with devices that do not snoop.
pub fn add_last(tests: &mut Tests) {
    tests.add("maintenance/views/killed", views::killed);
    tests.add(
        "maintenance/views/killed-in-kernel",
        views::killed_in_kernel,
    );
    if views::devices_may_have_operations() {
        tests.add("maintenance/operations/own", || views::operations(1));
    }
    if cfg!(target_arch = "arm") {
        tests.add("maintenance/operations/iommu", || {
            views::operations(views::IOMMU)
        });
    }
    tests.add("snooping/is-a-view", views::snooping);
}

/// Heaps of contiguous memory, one per mapping and pool type. They have no page pools.
const CONTIGUOUS: [&str; 3] = ["cma", "cma-uncached", "rk-dma-heap-cma"];

const PAGES: usize = 256 + 16 + 3;

/// Runs `test` with the driver and a buffer of a heap, which this process has mapped. The module
/// can be unloaded afterwards.
fn with_buffer(name: &str, test: impl FnOnce(&Client, &Buffer) -> Result<()>) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let view = buffer.map()?;
    test(&client, &buffer)?;
    drop((view, buffer, heap));
    module.unload()
}

/// Maps, accesses and unmaps with one and with two importers, while a process has the buffer
/// mapped. Each mapping and each access must cover the whole buffer once, or nothing at all.
fn for_importers(name: &str, client: &Client, buffer: &Buffer) -> Result<()> {
    let cached = !name.contains("uncached");
    let bytes = |times: u64| {
        if cached {
            times * (PAGES * page_size()) as u64
        } else {
            0
        }
    };

    let first = client.import(buffer)?;
    let segments = first.segments()?;
    let watch = Watch::start()?;
    let second = client.attach(buffer)?;
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

    access(&watch, buffer, &second, &segments, bytes(1)).context("two importers")?;
    second.unmap()?;
    let unmapped = Maintenance {
        for_device: 0,
        for_cpu: bytes(1),
    };
    expect("unmap", watch.take(&segments)?, unmapped)?;
    access(&watch, buffer, &second, &segments, bytes(1)).context("one importer")?;
    drop(second);
    expect("detach", watch.take(&segments)?, NONE)
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
fn without_importers(name: &str, client: &Client, buffer: &Buffer) -> Result<()> {
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
    let attachment = client.import(buffer)?;
    let segments = attachment.segments()?;
    attachment.unmap()?;
    let begun = maintenance(&begun, &segments)?;
    expect("begin, never attached", begun, for_cpu(bytes))?;
    let ended = maintenance(&ended, &segments)?;
    expect("end, never attached", ended, for_device(bytes))?;

    watch.trace.clear()?;
    access(&watch, buffer, &attachment, &segments, bytes).context("attached, not mapped")?;
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
    let attachment = client.import(buffer)?;
    watch.trace.clear()?;
    let mapped = if name.contains("uncached") {
        0
    } else {
        (PAGES * page_size()) as u64
    };
    access(&watch, buffer, &attachment, &segments, mapped).context("mapped")
}

/// Devices that never attach may have written while the only importer reads: the CPU sees that.
fn beside_a_reader(client: &Client, buffer: &Buffer) -> Result<()> {
    let reader = client.attach(buffer)?;
    reader.map(Direction::ToDevice)?;
    let segments = reader.segments()?;
    let watch = Watch::start()?;
    for flags in [SYNC_RW, SYNC_READ] {
        watch.trace.clear()?;
        buffer.sync(SYNC_START | flags)?;
        let mut events = watch.trace.take()?;
        // For a device that reads the kernel invalidates nothing.
        events.retain(|event| {
            let direction = event.number("direction");
            direction.is_ok_and(|direction| direction != Direction::ToDevice as u64)
        });
        let bytes = (PAGES * page_size()) as u64;
        expect("begin", maintenance(&events, &segments)?, for_cpu(bytes))?;
        buffer.sync(SYNC_END | flags)?;
    }
    Ok(())
}

/// As long as one device has the buffer mapped, each sync covers it once, in whatever order they
/// came and whichever has gone.
fn in_any_order(client: &Client, buffer: &Buffer) -> Result<()> {
    let unmapped_last = client.import(buffer)?;
    let segments = unmapped_last.segments()?;
    let watch = Watch::start()?;
    let synced = |devices: usize| -> Result<()> {
        watch.trace.clear()?;
        buffer.sync(SYNC_START | SYNC_RW)?;
        let bytes = (devices.min(1) * PAGES * page_size()) as u64;
        let what = format!("{devices} devices");
        expect(&what, watch.take(&segments)?, for_cpu(bytes))?;
        Ok(buffer.sync(SYNC_END | SYNC_RW)?)
    };
    // The last one that was mapped is the first, a middle one, or the last one to be unmapped.
    for order in [[2, 0, 1], [1, 2, 0], [0, 1, 2]] {
        let others = [(); 3].map(|()| client.attach(buffer));
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
    synced(0)
}

/// A driver detaches without unmapping. The buffer is unmapped all the same, and the device is part
/// of no sync any more, whether others came before or after it.
fn left_mapped(client: &Client, buffer: &Buffer) -> Result<()> {
    let bytes = (PAGES * page_size()) as u64;
    for others in [[false, false], [true, false], [false, true], [true, true]] {
        let import = |wanted: bool| wanted.then(|| client.import(buffer)).transpose();
        let before = import(others[0])?;
        let careless = client.import(buffer)?;
        careless.map(Direction::Both)?;
        let segments = careless.segments()?;
        let after = import(others[1])?;
        let watch = Watch::start()?;
        careless.leave()?;
        let unmapped_twice = for_cpu(2 * bytes);
        expect("detach", watch.take(&segments)?, unmapped_twice)
            .with_context(|| format!("{others:?}"))?;
        buffer.sync(SYNC_START | SYNC_RW)?;
        let left = others.into_iter().filter(|other| *other).count() as u64;
        expect(
            "begin",
            watch.take(&segments)?,
            for_cpu(left.min(1) * bytes),
        )
        .with_context(|| format!("{others:?}"))?;
        buffer.sync(SYNC_END | SYNC_RW)?;
        drop((before, after, watch));
    }
    Ok(())
}
