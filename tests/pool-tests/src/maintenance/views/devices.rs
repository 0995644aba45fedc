// SPDX-License-Identifier: GPL-2.0

//! Devices of other kinds: with DMA operations of their own, and such that snoop. And the zeroes of
//! a new buffer, for each of them.

use super::{
    all,
    flushed,
    with_scene_of,
    written_back,
    HEAPS, //
};
use crate::maintenance::watch::{
    expect,
    for_cpu,
    for_device,
    Watch,
    NONE, //
};
use crate::maintenance::PAGES;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::{
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::module::Module;
use guest_support::page_size;

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
        with_scene_of("", name, PAGES * page_size(), |scene| {
            scene.watch.trace.clear()?;
            scene.device.unmap()?;
            scene.device.map(Direction::Both)?;
            scene.expect(name, if which == IOMMU { NONE } else { flushed() })
        })
    });
    client::reload("")?;
    result
}

/// The operations of 32-bit arm for a device behind an IOMMU.
pub const IOMMU: u32 = 2;

/// The zeroes of a new buffer reach the memory, also if the first device only writes: it may write
/// less than everything. 32-bit arm discards lines for such a direction.
pub(super) fn zeroes(name: &str, driver: &str) -> Result<()> {
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
