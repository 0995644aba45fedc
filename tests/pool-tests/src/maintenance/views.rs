// SPDX-License-Identifier: GPL-2.0

//! Maintenance for devices while the CPU has no view of a buffer, and when it gets one.

mod devices;
mod hibernation;
mod killed;
mod one_sync;

pub use devices::{
    devices_may_have_operations,
    operations,
    snooping,
    IOMMU, //
};
pub use killed::{
    killed,
    killed_in_kernel, //
};

use super::watch::{
    expect,
    for_cpu,
    for_device,
    maintenance,
    Maintenance,
    Watch,
    NONE, //
};
use super::PAGES;
use crate::trace::Event;
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
use guest_support::process::Child;
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use std::thread::sleep;
use std::time::Duration;

/// Heaps whose buffers are tracked, with scattered and with contiguous memory.
const HEAPS: [&str; 3] = ["system", "system-dma32", "cma"];

pub fn add(tests: &mut Tests) {
    type Test = fn(&Scene<'_>) -> Result<()>;
    let each: [(&str, Test); 14] = [
        ("no-view", no_view),
        ("process", view_of_a_process),
        ("kernel", view_of_the_kernel),
        ("importer", view_through_an_importer),
        ("mapped-already", view_while_mapped),
        ("parts", parts_of_a_view),
        ("copies", copies_of_a_view),
        ("refused", refused_view),
        ("access-without-view", access_without_view),
        ("access-before-importers", access_before_importers),
        ("access-beyond-view", access_beyond_view),
        ("end-while-mapped", end_while_mapped),
        ("second-user", second_user),
        ("hibernation", hibernation::begins_and_ends),
    ];
    for heap in HEAPS {
        for (name, test) in each {
            tests.add(format!("maintenance/views/{name}/{heap}"), move || {
                with_scene(heap, test)
            });
        }
        tests.add(
            format!("maintenance/views/hibernation-at-load/{heap}"),
            move || hibernation::has_begun_at_load(heap),
        );
        tests.add(format!("maintenance/views/zeroes/{heap}"), move || {
            devices::zeroes(heap, "")
        });
        tests.add(
            format!("maintenance/views/switched-off/{heap}"),
            move || switched_off(heap),
        );
        tests.add(format!("maintenance/one-sync/{heap}"), move || {
            with_scene(heap, one_sync::one_sync)
        });
    }
}

/// A buffer, and a device that has imported it.
struct Scene<'a> {
    watch: &'a Watch,
    buffer: &'a Buffer,
    client: &'a Client,
    device: &'a Attachment<'a>,
    segments: &'a [Segment],
}

/// The size of the buffer.
fn all() -> u64 {
    (PAGES * page_size()) as u64
}

impl Scene<'_> {
    /// Checks the maintenance since the last call.
    fn expect(&self, what: &str, expected: Maintenance) -> Result<()> {
        expect(what, self.watch.take(self.segments)?, expected)
    }

    /// Maps and unmaps: nothing to do, because there is no view.
    fn expect_free(&self, what: &str) -> Result<()> {
        self.map_and_unmap(what, NONE, NONE)
    }

    /// Maps and unmaps: the first mapping writes back what the CPU may have written, and then there
    /// is nothing to do again.
    fn expect_written_back(&self, what: &str) -> Result<()> {
        self.map_and_unmap(what, for_device(all()), NONE)?;
        self.expect_free(what)
    }

    /// Maps and unmaps with maintenance, because there is a view.
    fn expect_maintained(&self, what: &str) -> Result<()> {
        self.map_and_unmap(what, for_device(all()), for_cpu(all()))
    }

    fn map_and_unmap(&self, what: &str, mapped: Maintenance, unmapped: Maintenance) -> Result<()> {
        self.device.map(Direction::Both)?;
        self.expect("map", mapped).context(what.to_owned())?;
        self.device.unmap()?;
        self.expect("unmap", unmapped).context(what.to_owned())
    }
}

/// Runs a test with a buffer that a device has mapped. `parameters` are the module's. The driver is
/// loaded unless it is loaded already.
fn with_scene_of(
    parameters: &str,
    heap: &str,
    size: usize,
    test: impl FnOnce(&Scene<'_>) -> Result<()>,
) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load(parameters)?;
    let heap = Heap::open(heap)?;
    let buffer = heap.allocate(size)?;
    let watch = Watch::start()?;
    let device = client.import(&buffer)?;
    let segments = device.segments()?;
    test(&Scene {
        watch: &watch,
        buffer: &buffer,
        client: &client,
        device: &device,
        segments: &segments,
    })?;
    drop((device, watch, buffer, heap));
    module.unload()
}

/// Runs a test with a buffer that a device has had mapped, with clean memory.
fn with_scene(heap: &str, test: impl FnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    with_scene_of("", heap, PAGES * page_size(), |scene| {
        // The zeroes of the memory.
        scene.expect("map", for_device(all()))?;
        scene.device.unmap()?;
        scene.expect("unmap", NONE)?;
        test(scene)
    })
}

/// Any number of mappings for devices, of any direction, needs no maintenance.
fn no_view(scene: &Scene<'_>) -> Result<()> {
    scene.expect_free("once more")?;
    let directions = [Direction::Both, Direction::ToDevice, Direction::FromDevice];
    for direction in directions {
        let other = scene.client.attach(scene.buffer)?;
        scene.device.map(Direction::Both)?;
        for _ in 0..2 {
            other.map(direction)?;
        }
        scene.expect("mapped", NONE)?;
        for _ in 0..2 {
            other.unmap()?;
        }
        scene.device.unmap()?;
        scene.expect("unmapped", NONE)?;
    }
    Ok(())
}

/// What devices wrote is invalidated before a process can look, and while it can, everything is
/// maintained.
fn view_of_a_process(scene: &Scene<'_>) -> Result<()> {
    let mapping = scene.buffer.map()?;
    scene.expect("mmap", for_cpu(all()))?;
    scene.expect_maintained("with a mapping")?;
    let second = scene.buffer.map_range(0, page_size())?;
    scene.expect("mmap again", NONE)?;
    drop(mapping);
    scene.expect_maintained("with the second mapping")?;
    drop(second);
    scene.expect_written_back("after the last mapping")
}

fn view_of_the_kernel(scene: &Scene<'_>) -> Result<()> {
    for _ in 0..2 {
        scene.device.vmap()?;
        scene.expect("vmap", for_cpu(all()))?;
        scene.expect_maintained("with a kernel mapping")?;
        let process = scene.buffer.map()?;
        scene.expect("mmap", NONE)?;
        scene.device.vunmap()?;
        scene.expect_maintained("with the mapping of the process")?;
        drop(process);
        scene.expect_written_back("after both")?;
    }
    Ok(())
}

/// A driver that has imported the buffer maps it to a process.
fn view_through_an_importer(scene: &Scene<'_>) -> Result<()> {
    let mapping = scene.device.mmap(page_size(), page_size(), 0)?;
    scene.expect("mmap", for_cpu(all()))?;
    scene.expect_maintained("with a mapping")?;
    drop(mapping);
    scene.expect_written_back("after the mapping")
}

/// The view is made, or is gone, while a device has the buffer mapped.
fn view_while_mapped(scene: &Scene<'_>) -> Result<()> {
    scene.device.map(Direction::Both)?;
    scene.expect("map", NONE)?;
    let mapping = scene.buffer.map()?;
    scene.expect("mmap", for_cpu(all()))?;
    scene.buffer.sync(SYNC_START | SYNC_RW)?;
    scene.expect("begin", for_cpu(all()))?;
    scene.buffer.sync(SYNC_END | SYNC_RW)?;
    scene.expect("end", for_device(all()))?;
    scene.device.unmap()?;
    scene.expect("unmap", for_cpu(all()))?;
    scene.device.map(Direction::Both)?;
    scene.expect("map", for_device(all()))?;
    drop(mapping);
    // The process may have written without an end of its access.
    scene.device.unmap()?;
    scene.expect("unmap after munmap", for_cpu(all()))?;
    scene.expect_written_back("after the mapping")
}

/// A mapping that is split, moved and cut is a view until its last part is gone.
fn parts_of_a_view(scene: &Scene<'_>) -> Result<()> {
    let page = page_size();
    let mut mapping = scene.buffer.map()?;
    scene.expect("mmap", for_cpu(all()))?;
    mapping.move_to(page, 0)?;
    scene.expect_maintained("moved")?;
    mapping.unmap_range(page, page)?;
    scene.expect_maintained("with a hole")?;
    mapping.unmap_range(2 * page, mapping.len() - 2 * page)?;
    scene.expect_maintained("with one page")?;
    mapping.unmap_range(0, page)?;
    scene.expect_written_back("with none")
}

/// Another process inherits the mapping.
fn copies_of_a_view(scene: &Scene<'_>) -> Result<()> {
    let mapping = scene.buffer.map()?;
    scene.expect("mmap", for_cpu(all()))?;
    let child = Child::run(|| {
        sleep(Duration::from_secs(600));
        Ok(())
    })?;
    drop(mapping);
    scene.expect_maintained("with the mapping of the other process")?;
    // Kills it.
    drop(child);
    scene.expect_written_back("after its end")
}

/// A private mapping is refused, and is no view afterwards.
fn refused_view(scene: &Scene<'_>) -> Result<()> {
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let len = page_size();
    let refused = scene
        .buffer
        .map_with(0, len, protection, MapFlags::MAP_PRIVATE);
    ensure!(refused.is_err(), "a private mapping is not refused");
    scene.watch.trace.clear()?;
    scene.expect_written_back("after it")
}

/// Who accesses memory without a mapping has one of its own, and may have it for ever.
fn access_without_view(scene: &Scene<'_>) -> Result<()> {
    scene.buffer.sync(SYNC_END | SYNC_RW)?;
    // It may be that of an access that has begun while there was a view.
    scene.expect("an end without a begin", flushed())?;
    scene.expect_written_back("after the end")?;
    scene.device.begin_cpu_access(Direction::Both)?;
    scene.expect("begin_cpu_access", for_cpu(all()))?;
    scene.expect_maintained("during the access")?;
    scene.device.end_cpu_access(Direction::Both)?;
    scene.watch.trace.clear()?;
    scene.expect_maintained("after the access")
}

/// All lines are written back and invalidated.
fn flushed() -> Maintenance {
    Maintenance {
        for_device: all(),
        for_cpu: all(),
    }
}

/// Without an importer nobody has a mapping that is not known.
fn access_before_importers(scene: &Scene<'_>) -> Result<()> {
    let heap = Heap::open("system")?;
    let buffer = heap.allocate(PAGES * page_size())?;
    buffer.sync(SYNC_START | SYNC_RW)?;
    let view = buffer.map()?;
    buffer.sync(SYNC_END | SYNC_RW)?;
    drop(view);
    let found = second_round(scene.watch, scene.client, &buffer)?;
    expect("map and unmap", found, NONE)
}

/// Imports a buffer, and returns what is maintained when the device maps and unmaps it for the
/// second time.
fn second_round(watch: &Watch, client: &Client, buffer: &Buffer) -> Result<Maintenance> {
    let device = client.import(buffer)?;
    let segments = device.segments()?;
    device.unmap()?;
    watch.trace.clear()?;
    device.map(Direction::Both)?;
    device.unmap()?;
    watch.take(&segments)
}

/// An importer with a mapping of its own begins an access while a process has one, and ends it
/// when that is gone and a device has had the buffer. What it has written must be written back.
fn access_beyond_view(scene: &Scene<'_>) -> Result<()> {
    let view = scene.buffer.map()?;
    scene.device.begin_cpu_access(Direction::Both)?;
    drop(view);
    scene.watch.trace.clear()?;
    scene.expect_written_back("during the access")?;
    scene.device.end_cpu_access(Direction::Both)?;
    scene.expect("end_cpu_access", flushed())?;
    scene.expect_written_back("after the access")
}

/// An access ends while devices have the buffer mapped: all lines are written back by a mapping of
/// the module's own, which the kernel's debugging of the DMA interface must not take for one that
/// conflicts with theirs.
fn end_while_mapped(scene: &Scene<'_>) -> Result<()> {
    for direction in [Direction::Both, Direction::FromDevice, Direction::ToDevice] {
        scene.device.map(direction)?;
        scene.expect("map", NONE)?;
        scene.buffer.sync(SYNC_END | SYNC_RW)?;
        scene.device.unmap()?;
        // There may have been dirty lines again.
        scene.watch.trace.clear()?;
        scene.expect_written_back("afterwards")?;
    }
    Ok(())
}

/// A further user of an attachment that only writes takes over what the CPU has written: 32-bit arm
/// would discard it.
fn second_user(scene: &Scene<'_>) -> Result<()> {
    scene.device.map(Direction::FromDevice)?;
    let view = scene.buffer.map()?;
    for is_viewed in [true, false] {
        if !is_viewed {
            scene.device.unmap()?;
            drop(scene.buffer.map()?);
        }
        scene.watch.trace.clear()?;
        scene.device.map(Direction::FromDevice)?;
        let written_back = written_back(scene.watch.trace.take()?, scene.segments)?;
        ensure!(
            written_back == all(),
            "viewed: {is_viewed}: {written_back} bytes"
        );
        if is_viewed {
            scene.device.unmap()?;
            scene.device.map(Direction::FromDevice)?;
        }
    }
    drop(view);
    Ok(())
}

/// Returns the bytes of these segments that are written back: 32-bit arm discards lines for a
/// device that only writes.
fn written_back(events: Vec<Event>, segments: &[Segment]) -> Result<u64> {
    let written_back = events.into_iter().filter(|event| {
        let discards = cfg!(target_arch = "arm") && event.name == "arch_sync_dma_for_device";
        !discards
            || event
                .number("direction")
                .is_ok_and(|it| it != Direction::FromDevice as u64)
    });
    Ok(maintenance(&written_back.collect::<Vec<_>>(), segments)?.for_device)
}

/// With `cache_states=0` each map and unmap is maintained.
fn switched_off(heap: &str) -> Result<()> {
    with_scene_of("cache_states=0", heap, PAGES * page_size(), |scene| {
        scene.expect("map", for_device(all()))?;
        scene.device.unmap()?;
        scene.expect("unmap", for_cpu(all()))?;
        for _ in 0..2 {
            scene.expect_maintained("again")?;
            drop(scene.buffer.map()?);
            scene.expect("mmap", NONE)?;
        }
        Ok(())
    })
}
