// SPDX-License-Identifier: GPL-2.0

//! The memory of new buffers: what must have reached it before a device accesses it.

use super::watch::{
    expect_cleaned_once,
    expect_not_cleaned,
    Watch, //
};
use super::{
    FOR_ADDRESSES,
    PAGES, //
};
use crate::figures::Figures;
use crate::trace::Event;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Segment, //
};
use guest_support::cpu::bind_to_cpu;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kept_ranges;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::retry::before;
use std::thread::sleep;
use std::time::{
    Duration,
    Instant, //
};

// Memory that will be mapped uncached is cleaned exactly once before it is allocated: fresh memory
// during the allocation, freed memory after it was zeroed. Pooled memory needs no further
// maintenance.
pub fn from_a_pool(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    // A CPU may keep single pages in its own list.
    bind_to_cpu(0)?;
    for pages in [1, 256 + 32] {
        check_from_a_pool(name, &client, pages).with_context(|| format!("{pages} pages"))?;
    }
    module.unload()
}

fn check_from_a_pool(name: &str, client: &Client, pages: usize) -> Result<()> {
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    let (buffer, segments, fresh) = allocate_watched(&watch, client, &heap, pages)?;
    drop(buffer);
    Figures::settled()?;
    let returned = watch.trace.take()?;
    let (_buffer, again, pooled) = allocate_watched(&watch, client, &heap, pages)?;
    ensure!(again == segments, "the buffer is not from the pool");

    if name.contains("uncached") {
        expect_cleaned_once("fresh memory", &fresh, &segments)?;
        expect_cleaned_once("freed memory", &returned, &segments)?;
    } else {
        expect_not_cleaned("fresh memory", &fresh, &segments)?;
        expect_not_cleaned("freed memory", &returned, &segments)?;
    }
    expect_not_cleaned("pooled memory", &pooled, &segments)
}

// Without a pool all memory is fresh, and freed memory needs no maintenance.
pub fn contiguous(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("keep_ranges=0")?;
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    for _ in 0..2 {
        let (buffer, segments, fresh) = allocate_watched(&watch, &client, &heap, PAGES)?;
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

/// Allocates a buffer. Returns it with its memory, in ascending order, and the maintenance during
/// the allocation.
fn allocate_watched(
    watch: &Watch,
    client: &Client,
    heap: &Heap,
    pages: usize,
) -> Result<(Buffer, Vec<Segment>, Vec<Event>)> {
    watch.trace.clear()?;
    let buffer = heap.allocate(pages * page_size())?;
    let events = watch.trace.take()?;
    let mut segments = client.import(&buffer)?.segments()?;
    segments.sort_by_key(|segment| segment.physical_address);
    watch.trace.clear()?;
    Ok((buffer, segments, events))
}

/// Longer than a freed range usually waits for its preparation.
const PREPARATION: Duration = Duration::from_millis(300);

/// Frees a buffer of a heap, and waits until the thread has prepared its memory, which may take
/// long on a busy machine. Returns the maintenance meanwhile.
fn free_watched(
    watch: &Watch,
    name: &str,
    buffer: Buffer,
    segments: &[Segment],
) -> Result<Vec<Event>> {
    let freed = Instant::now();
    drop(buffer);
    sleep(PREPARATION);
    let is_prepared = || -> Result<bool> {
        let events = watch.trace.events()?;
        Ok(expect_prepared("freed memory", name, &events, segments).is_ok())
    };
    while !is_prepared()? && freed.elapsed() < kept_ranges::KEEP_TIME {
        sleep(Duration::from_millis(5));
    }
    watch.trace.take()
}

/// A freed range that is kept is prepared by the thread, and no more maintenance is needed when it
/// is allocated again.
pub fn kept(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let watch = Watch::start()?;
    before(kept_ranges::KEEP_TIME, kept_ranges::release, || {
        let (mut buffer, segments, _) = allocate_watched(&watch, &client, &heap, PAGES)?;
        for _ in 0..2 {
            let returned = free_watched(&watch, name, buffer, &segments)?;
            let (again, memory, kept) = allocate_watched(&watch, &client, &heap, PAGES)?;
            ensure!(memory == segments, "the buffer is not from the kept range");
            expect_prepared("freed memory", name, &returned, &segments)?;
            expect_not_cleaned("kept memory", &kept, &segments)?;
            buffer = again;
        }
        Ok(())
    })?;
    drop((heap, watch));
    module.unload()
}

/// What another heap of the same area has freed was not prepared for devices that never attach.
pub fn from_another_heap() -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    // The area of the Rockchip heap has a heap of its own name if it is not the default one.
    let area = std::fs::read_dir("/dev/dma_heap")?
        .filter_map(|node| node.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("rockchip-pool"));
    let area = area.as_deref().unwrap_or("cma");
    let other = Heap::open(area)?;
    let heap = Heap::open(FOR_ADDRESSES)?;
    let watch = Watch::start()?;
    before(kept_ranges::KEEP_TIME, kept_ranges::release, || {
        let (buffer, segments, _) = allocate_watched(&watch, &client, &other, PAGES)?;
        free_watched(&watch, area, buffer, &segments)?;
        let (buffer, again, events) = allocate_watched(&watch, &client, &heap, PAGES)?;
        ensure!(again == segments, "the buffer is not from the kept range");
        expect_cleaned_once("memory of the other heap", &events, &segments)?;
        // The other way around everything is prepared.
        free_watched(&watch, FOR_ADDRESSES, buffer, &segments)?;
        let (_buffer, again, events) = allocate_watched(&watch, &client, &other, PAGES)?;
        ensure!(again == segments, "the buffer is not from the kept range");
        expect_not_cleaned("memory of the Rockchip heap", &events, &segments)
    })?;
    drop((heap, other, watch));
    module.unload()
}
