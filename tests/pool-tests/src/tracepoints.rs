// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: each one exists, is triggered by its operation, and has correct values.

use crate::figures::Figures;
use crate::trace::{
    Event,
    Trace,
    TRACING, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::retry::eventually;
use std::path::Path;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("tracepoints/formats", formats);
    tests.add("tracepoints/events", events);
    tests.add("tracepoints/descriptors", descriptors);
}

/// All events with their fields.
const EVENTS: [(&str, &[&str]); 6] = [
    ("rk_dma_heap_allocate", &["heap", "bytes"]),
    ("rk_dma_heap_free", &["heap", "bytes"]),
    ("rk_dma_heap_pool_hit", &["heap", "order", "runs"]),
    ("rk_dma_heap_pool_miss", &["heap", "order", "runs"]),
    ("rk_dma_heap_deferred_free", &["heap", "pages"]),
    ("rk_dma_heap_shrink", &["heap", "wanted", "freed"]),
];

// trace-cmd and perf read the event's ID and the description of its fields, with which they decode
// the recording.
fn formats() -> Result<()> {
    let module = Module::load("")?;
    let listed = std::fs::read_to_string(Path::new(TRACING).join("available_events"))?;
    for (event, fields) in EVENTS {
        ensure!(
            listed
                .lines()
                .any(|line| line == format!("rk_dma_heap:{event}")),
            "{event} is not in available_events"
        );
        let folder = Path::new(TRACING).join("events/rk_dma_heap").join(event);
        let format = std::fs::read_to_string(folder.join("format"))
            .with_context(|| format!("{event} has no format"))?;
        for field in fields {
            let described = format.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with("field:") && line.contains(&format!(" {field};"))
            });
            ensure!(described, "{event}: the format lacks field {field}");
        }
        // Without a `print fmt` that they can evaluate, tools print raw numbers.
        let print = format.lines().find(|line| line.starts_with("print fmt: "));
        let print = print.with_context(|| format!("{event} has no print fmt"))?;
        ensure!(
            fields
                .iter()
                .all(|field| print.contains(&format!("{field}="))),
            "{event}: {print}"
        );
        let id = std::fs::read_to_string(folder.join("id"))?;
        id.trim()
            .parse::<u32>()
            .with_context(|| format!("{event}: id"))?;
    }
    module.unload()?;
    ensure!(
        !Path::new(TRACING).join("events/rk_dma_heap").exists(),
        "events exist after unloading the module"
    );
    Ok(())
}

// Each descriptor is reported by the kernel's own event, also those of the module's own nodes.
fn descriptors() -> Result<()> {
    let module = Module::load("")?;
    let trace = Trace::of(&["dma_buf/dma_buf_fd"])?;
    for name in heap::names()? {
        let heap = Heap::open(&name)?;
        trace.clear()?;
        let buffer = heap
            .allocate(3 * page_size())
            .with_context(|| name.clone())?;
        let events = trace.take()?;
        let event = only(&events, "dma_buf_fd").with_context(|| name.clone())?;
        ensure!(
            event.text("exp_name")? == name
                && event.number("size")? == 3 * page_size() as u64
                && event.number("ino")? == buffer.inode()?
                && event.number("fd")? == buffer.raw_fd() as u64,
            "{name}: {event:?}"
        );
        // A failed allocation has none.
        trace.clear()?;
        ensure!(heap.allocate(usize::MAX / 2).is_err());
        ensure!(
            trace.take()?.is_empty(),
            "{name}: an event without descriptor"
        );
    }
    drop(trace);
    module.unload()
}

fn only<'a>(events: &'a [Event], name: &str) -> Result<&'a Event> {
    let found: Vec<_> = events.iter().filter(|event| event.name == name).collect();
    ensure!(
        found.len() == 1,
        "{name} occurs {} times, expected once: {events:#?}",
        found.len()
    );
    Ok(found[0])
}

/// Returns the pages of all runs in events of this name.
fn pages(events: &[Event], name: &str) -> Result<u64> {
    let events = events.iter().filter(|event| event.name == name);
    events
        .map(|event| Ok(event.number("runs")? << event.number("order")?))
        .sum()
}

fn events() -> Result<()> {
    let module = Module::load("")?;
    for name in crate::HEAPS {
        check_events(name).with_context(|| name.to_owned())?;
    }
    module.unload()
}

fn check_events(name: &str) -> Result<()> {
    let names: Vec<_> = EVENTS
        .iter()
        .map(|(event, _)| format!("rk_dma_heap/{event}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let heap = Heap::open(name)?;
    // One run of each order, with 4 KiB pages.
    let expected_pages = 256 + 16 + 1;
    let size = expected_pages as usize * page_size();

    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    let trace = Trace::of(&names)?;
    let buffer = heap.allocate(size)?;
    let events = trace.take()?;
    for event in &events {
        ensure!(event.text("heap")? == name, "{event:?}");
    }
    ensure!(only(&events, "rk_dma_heap_allocate")?.number("bytes")? == size as u64);
    let missed = pages(&events, "rk_dma_heap_pool_miss")?;
    ensure!(
        missed == expected_pages,
        "{missed} of {expected_pages} pages missed"
    );
    let hit = pages(&events, "rk_dma_heap_pool_hit")?;
    ensure!(hit == 0, "{hit} pages from an empty pool");

    drop(buffer);
    Figures::settled()?;
    let events = trace.take()?;
    ensure!(only(&events, "rk_dma_heap_free")?.number("bytes")? == size as u64);
    let deferred = only(&events, "rk_dma_heap_deferred_free")?.number("pages")?;
    ensure!(deferred == expected_pages, "{deferred} pages deferred");

    let buffer = heap.allocate(size)?;
    let events = trace.take()?;
    let hit = pages(&events, "rk_dma_heap_pool_hit")?;
    let missed = pages(&events, "rk_dma_heap_pool_miss")?;
    // A CPU may keep single pages in its own list.
    ensure!(
        hit + missed == expected_pages && missed <= 1,
        "{hit} pages are from the pool and {missed} are not, of {expected_pages}"
    );

    // Large enough for one batch of the shrinker.
    drop(buffer);
    drop(heap.allocate(8 * MIB)?);
    let held = Figures::settled()?.pooled / page_size();
    trace.clear()?;
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    eventually(Duration::from_secs(2), || {
        ensure!(Figures::total()?.kept() == 0, "the pools are not empty");
        Ok(())
    })?;
    let events = trace.take()?;
    let mut freed = 0;
    for event in events
        .iter()
        .filter(|event| event.name == "rk_dma_heap_shrink")
    {
        ensure!(event.text("heap")? == name, "{event:?}");
        ensure!(event.number("wanted")? > 0, "{event:?}");
        freed += event.number("freed")?;
    }
    ensure!(
        freed == held as u64,
        "{freed} pages freed according to events, {held} were held"
    );
    Ok(())
}
