// SPDX-License-Identifier: GPL-2.0

//! Maintenance for devices while the CPU has no view of a buffer, and when it gets one.

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
use guest_support::cpu::bind_to_cpu;
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    skip,
    Tests, //
};
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::process::Child;
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use std::fs::File;
use std::path::Path;
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
        ("hibernation", hibernation),
    ];
    for heap in HEAPS {
        for (name, test) in each {
            tests.add(format!("maintenance/views/{name}/{heap}"), move || {
                with_scene(heap, test)
            });
        }
        tests.add(
            format!("maintenance/views/hibernation-at-load/{heap}"),
            move || hibernation_at_load(heap),
        );
        tests.add(format!("maintenance/views/zeroes/{heap}"), move || {
            zeroes(heap, "")
        });
        tests.add(
            format!("maintenance/views/switched-off/{heap}"),
            move || switched_off(heap),
        );
        tests.add(format!("maintenance/one-sync/{heap}"), move || {
            with_scene(heap, one_sync)
        });
    }
}

/// A buffer that a device has had mapped, with clean memory.
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

fn with_scene(name: &str, test: impl FnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let watch = Watch::start()?;
    let device = client.attach(&buffer)?;
    device.map(Direction::Both)?;
    let first = watch.trace.take()?;
    let segments = device.segments()?;
    // The zeroes of the memory.
    expect("map", maintenance(&first, &segments)?, for_device(all()))?;
    watch.trace.clear()?;
    device.unmap()?;
    let scene = Scene {
        watch: &watch,
        buffer: &buffer,
        client: &client,
        device: &device,
        segments: &segments,
    };
    scene.expect("unmap", NONE)?;
    test(&scene)?;
    drop((device, watch, buffer, heap));
    module.unload()
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
    let device = scene.client.import(&buffer)?;
    let segments = device.segments()?;
    device.unmap()?;
    scene.watch.trace.clear()?;
    device.map(Direction::Both)?;
    device.unmap()?;
    expect("map and unmap", scene.watch.take(&segments)?, NONE)
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

const SNAPSHOT: &str = "/dev/snapshot";

/// The kernel reads all memory for hibernation, through the caches. The file stands for that: it is
/// through which a program saves memory.
fn hibernation(scene: &Scene<'_>) -> Result<()> {
    let heap = Heap::open("system")?;
    let unmapped = heap.allocate(page_size())?;
    if !Path::new(SNAPSHOT).exists() {
        return Err(skip("this kernel has no hibernation"));
    }
    let snapshot = File::open(SNAPSHOT).context(SNAPSHOT)?;
    scene.expect("hibernation begins", flushed())?;
    scene.expect_maintained("during hibernation")?;
    let maps_free = |buffer: &Buffer| -> Result<bool> {
        let device = scene.client.import(buffer)?;
        let segments = device.segments()?;
        device.unmap()?;
        scene.watch.trace.clear()?;
        device.map(Direction::Both)?;
        device.unmap()?;
        Ok(scene.watch.take(&segments)? == NONE)
    };
    ensure!(!maps_free(&unmapped)?, "a buffer that had no importer");
    let new = heap.allocate(page_size())?;
    ensure!(!maps_free(&new)?, "a buffer of that time");
    drop(snapshot);
    scene.expect_maintained("afterwards")?;
    ensure!(!maps_free(&new)?, "a buffer of that time, afterwards");
    ensure!(maps_free(&heap.allocate(page_size())?)?, "a new buffer");
    Ok(())
}

/// The module is loaded while a program saves memory, or restores it, and nobody tells it when that
/// began.
fn hibernation_at_load(name: &str) -> Result<()> {
    if !Path::new(SNAPSHOT).exists() {
        return Err(skip("this kernel has no hibernation"));
    }
    client::load("")?;
    let client = Client::open()?;
    for restores in [false, true] {
        let mut options = File::options();
        let snapshot = options.read(!restores).write(restores).open(SNAPSHOT);
        let snapshot = snapshot.with_context(|| format!("{SNAPSHOT}, restores: {restores}"))?;
        let module = Module::load("")?;
        let heap = Heap::open(name)?;
        let watch = Watch::start()?;
        let second_round = || -> Result<Maintenance> {
            let buffer = heap.allocate(PAGES * page_size())?;
            let device = client.import(&buffer)?;
            let segments = device.segments()?;
            device.unmap()?;
            watch.trace.clear()?;
            device.map(Direction::Both)?;
            device.unmap()?;
            watch.take(&segments)
        };
        expect("during hibernation", second_round()?, flushed())?;
        drop(snapshot);
        let afterwards = format!("afterwards, restores: {restores}");
        expect(&afterwards, second_round()?, NONE)?;
        drop((watch, heap));
        module.unload()?;
    }
    Ok(())
}

/// With `cache_states=0` each map and unmap is maintained.
fn switched_off(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("cache_states=0")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let device = client.import(&buffer)?;
    let segments = device.segments()?;
    let watch = Watch::start()?;
    device.unmap()?;
    expect("unmap", watch.take(&segments)?, for_cpu(all()))?;
    for _ in 0..2 {
        device.map(Direction::Both)?;
        expect("map", watch.take(&segments)?, for_device(all()))?;
        device.unmap()?;
        expect("unmap", watch.take(&segments)?, for_cpu(all()))?;
        drop(buffer.map()?);
        expect("mmap", watch.take(&segments)?, NONE)?;
    }
    drop((device, watch, buffer, heap));
    module.unload()
}

/// Returns whether the kernel is built for devices with DMA operations of their own.
pub fn devices_may_have_operations() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    symbols.lines().any(|line| line.ends_with(" dma_dummy_ops"))
}

/// A device with DMA operations of its own, which 32-bit arm has behind an IOMMU: a new buffer's
/// zeroes reach the memory. It is a view if nothing is known about these operations.
pub fn operations(which: u32) -> Result<()> {
    client::reload(&format!("operations={which}"))?;
    let result = HEAPS.into_iter().try_for_each(|name| {
        zeroes(name, &format!("operations={which}")).context(name)?;
        let client = Client::open()?;
        let module = Module::load("")?;
        let buffer = Heap::open(name)?.allocate(PAGES * page_size())?;
        let watch = Watch::start()?;
        let device = client.import(&buffer)?;
        let segments = device.segments()?;
        watch.trace.clear()?;
        device.unmap()?;
        device.map(Direction::Both)?;
        let expected = if which == IOMMU { NONE } else { flushed() };
        expect(name, watch.take(&segments)?, expected)?;
        drop((device, watch, buffer));
        module.unload()
    });
    client::reload("")?;
    result
}

/// The operations of 32-bit arm for a device behind an IOMMU.
pub const IOMMU: u32 = 2;

/// Lets this process interrupt its children when it wakes. On a CPU of their own they might be done
/// by then, if those of the guest do not run at the same time.
fn interrupt_children() -> Result<()> {
    bind_to_cpu(0)
}

/// A process is killed while the kernel maps a buffer of clean memory for it: the mapping is made,
/// since the dma-buf core warns of each that fails, and all lines are invalidated.
pub fn killed_in_kernel() -> Result<()> {
    interrupt_children()?;
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open("system")?;
    let size = 192 << 20;
    let buffer = heap.allocate(size)?;
    let watch = Watch::start()?;
    let device = client.import(&buffer)?;
    let segments = device.segments()?;
    device.unmap()?;
    watch.trace.clear()?;
    let child = Child::run(|| Ok(device.vmap()?))?;
    while !watch.trace.has_events()? {
        sleep(Duration::from_millis(1));
    }
    // Kills it, and waits.
    drop(child);
    device.vunmap().context("there is no mapping")?;
    expect("vmap", watch.take(&segments)?, for_cpu(size as u64))?;
    drop((device, watch, buffer, heap));
    module.unload()
}

/// A process that maps a large buffer of clean memory can be killed, and the next one invalidates
/// all of it.
pub fn killed() -> Result<()> {
    interrupt_children()?;
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open("system")?;
    let size = 192 << 20;
    let buffer = heap.allocate(size)?;
    let watch = Watch::start()?;
    let device = client.import(&buffer)?;
    let segments = device.segments()?;
    device.unmap()?;
    watch.trace.clear()?;
    let child = Child::run(|| {
        let _mapping = buffer.map()?;
        Ok(())
    })?;
    while !watch.trace.has_events()? {
        sleep(Duration::from_millis(1));
    }
    // Kills it, and waits.
    drop(child);
    let before = watch.take(&segments)?.for_cpu;
    ensure!(before < size as u64, "{before} bytes before the end");
    let mapping = buffer.map()?;
    expect("mmap", watch.take(&segments)?, for_cpu(size as u64))?;
    drop((mapping, device, watch, buffer, heap));
    module.unload()
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

/// The zeroes of a new buffer reach the memory, also if the first device only writes: it may write
/// less than everything. 32-bit arm discards lines for such a direction.
fn zeroes(name: &str, driver: &str) -> Result<()> {
    client::load(driver)?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    for is_viewed in [false, true] {
        let buffer = heap.allocate(PAGES * page_size())?;
        let view = is_viewed.then(|| buffer.map()).transpose()?;
        let device = client.attach(&buffer)?;
        watch.trace.clear()?;
        device.map(Direction::FromDevice)?;
        let events = watch.trace.take()?;
        let segments = device.segments()?;
        let written_back = written_back(events, &segments)?;
        // A device that may have a copy is maintained afterwards, as usual.
        let enough = written_back == all() || !driver.is_empty() && written_back > all();
        ensure!(enough, "viewed: {is_viewed}: {written_back} bytes");
        drop((device, view, buffer));
    }
    drop((watch, heap));
    module.unload()
}

/// A device that snoops reads and writes through the caches, so it is a view.
///
/// On 32-bit arm the kernel takes a device for one that snoops as long as it exists, if it has ever
/// been one. So all tests of devices that do not must come before this one.
pub fn snooping() -> Result<()> {
    client::load("")?;
    let module = Module::load("")?;
    let watch = Watch::start()?;
    let mut buffers = Vec::new();
    for name in HEAPS {
        let buffer = Heap::open(name)?.allocate(PAGES * page_size())?;
        let client = Client::open()?;
        let device = client.import(&buffer)?;
        let segments = device.segments()?;
        watch.trace.clear()?;
        device.unmap()?;
        expect(name, watch.take(&segments)?, NONE)?;
        drop(device);
        buffers.push((name, buffer, segments));
    }
    client::reload("coherent=1")?;
    for (name, buffer, segments) in &buffers {
        let client = Client::open()?;
        let device = client.import(buffer)?;
        let mapped = watch.take(segments)?;
        expect(&format!("map, {name}"), mapped, for_cpu(all()))?;
        let second = client.import(buffer)?;
        expect("map for another one", watch.take(segments)?, NONE)?;
        let mapping = buffer.map()?;
        buffer.sync(SYNC_START | SYNC_RW)?;
        buffer.sync(SYNC_END | SYNC_RW)?;
        drop(mapping);
        expect("mmap and sync", watch.take(segments)?, NONE)?;
        drop((device, second));
        expect("unmap", watch.take(segments)?, NONE)?;
    }
    client::reload("")?;
    for (name, buffer, segments) in &buffers {
        if cfg!(target_arch = "arm") {
            break;
        }
        let client = Client::open()?;
        let device = client.import(buffer)?;
        let mapped = watch.take(segments)?;
        expect(&format!("written, {name}"), mapped, for_device(all()))?;
        drop(device);
    }
    drop((buffers, watch));
    client::unload()?;
    module.unload()
}

/// Each line is maintained once, however many devices have the buffer mapped, and in a direction
/// that does for all of them.
fn one_sync(scene: &Scene<'_>) -> Result<()> {
    use Direction::{
        Both,
        FromDevice,
        ToDevice, //
    };
    let view = scene.buffer.map()?;
    // Devices, a sync of the CPU, and the directions in which the devices' lines may be maintained
    // before and after the access.
    type Case<'a> = (&'a [Direction], u64, &'a [Direction], &'a [Direction]);
    let cases: [Case<'_>; 10] = [
        (&[Both; 8], SYNC_RW, &[Both], &[Both]),
        (&[Both; 8], SYNC_READ, &[FromDevice], &[FromDevice]),
        (&[Both; 8], SYNC_WRITE, &[ToDevice], &[ToDevice]),
        // What the one device that writes has written is invalidated. What the CPU may have written
        // is written back, and not discarded.
        (
            &[ToDevice, Both, ToDevice],
            SYNC_RW,
            &[Both],
            &[Both, ToDevice],
        ),
        (
            &[Both, ToDevice, ToDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (
            &[ToDevice, FromDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (
            &[FromDevice, ToDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (&[FromDevice], SYNC_READ, &[FromDevice], &[FromDevice]),
        // Devices that only read are synced in their own direction.
        (&[ToDevice, ToDevice], SYNC_RW, &[ToDevice], &[ToDevice]),
        (&[ToDevice], SYNC_READ, &[ToDevice], &[ToDevice]),
    ];
    for (directions, flags, begun, ended) in cases {
        let mut devices = Vec::new();
        for direction in directions {
            let device = scene.client.attach(scene.buffer)?;
            device.map(*direction)?;
            devices.push(device);
        }
        for (flags, permitted, what, expected) in [
            (SYNC_START | flags, begun, "begin", for_cpu(all())),
            (SYNC_END | flags, ended, "end", for_device(all())),
        ] {
            scene.watch.trace.clear()?;
            scene.buffer.sync(flags)?;
            let events = scene.watch.trace.take()?;
            let what = format!("{what} {flags:#x} with {directions:?}");
            expect(&what, maintenance(&events, scene.segments)?, expected)?;
            for event in events {
                let found = event.number("direction")?;
                let is_permitted = permitted.iter().any(|one| *one as u64 == found);
                ensure!(is_permitted, "{what}: direction {found}");
            }
        }
    }
    drop(view);
    Ok(())
}
