// SPDX-License-Identifier: GPL-2.0

//! Tests of what `rkheap top` shows beside its sums: buffers, help, areas, and saved screens.

use crate::program::rkheap;
use crate::top::{
    first_row,
    own_row,
    Terminal, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::SetName;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;

pub fn add(tests: &mut Tests) {
    tests.add("top/buffers-of-a-process", buffers_of_a_process);
    tests.add("top/filter-and-help", filter_and_help);
    tests.add("top/areas", areas);
    tests.add("top/saved-screens", saved_screens);
    tests.add("top/once", once);
}

fn buffers_of_a_process() -> Result<()> {
    let heap = Heap::open("system")?;
    let held = heap.allocate(3 << 20)?;
    held.set_name("a frame", SetName::Pointer64)?;
    let terminal = Terminal::start(100, 24)?;
    let own = own_row()?;
    terminal.wait("this process first", |text| {
        first_row(text).starts_with(&own)
    })?;
    terminal.press("\r")?;
    let screen = terminal.wait("its buffer", |text| {
        text.starts_with(&format!("rkheap: buffers of {own}")) && text.contains("a frame")
    })?;
    diagnose(&screen);
    let row = screen.lines().find(|line| line.starts_with("a frame"));
    let row = row.context("no row")?;
    let holder = format!("{}:", std::process::id());
    ensure!(row.contains(" system ") && row.contains(" 3 MiB "), "{row}");
    ensure!(row.matches(&holder).count() == 2, "made and held: {row}");
    // It is as live as the sums.
    drop(held);
    terminal.wait("no buffer", |text| !text.contains("a frame"))?;
    terminal.press("\x1b")?;
    terminal.wait("the sums again", |text| text.contains("by process"))?;
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

/// Returns whether the table has a row that starts with `name`.
fn has_row(screen: &str, name: &str) -> bool {
    let mut lines = screen.lines().skip_while(|line| !line.ends_with("GROWN"));
    lines.any(|line| line.starts_with(name))
}

fn filter_and_help() -> Result<()> {
    let _held = Heap::open("system")?.allocate(1 << 20)?;
    let terminal = Terminal::start(80, 24)?;
    terminal.wait("processes", |text| text.contains("by process"))?;
    terminal.press("h")?;
    terminal.wait("heaps", |text| {
        has_row(text, "system ") && has_row(text, "cma-uncached ")
    })?;
    terminal.press("/CMA-UN")?;
    terminal.wait("the filter", |text| {
        text.contains("/CMA-UN_") && has_row(text, "cma-uncached ") && !has_row(text, "system ")
    })?;
    terminal.press("\r?")?;
    terminal.wait("help", |text| {
        text.contains(": help") && text.contains("GROWN is since")
    })?;
    terminal.press("?")?;
    terminal.wait("the filter still", |text| {
        has_row(text, "cma-uncached ") && !has_row(text, "system ")
    })?;
    // An arrow is no escape key, which would end the filter.
    terminal.press("\x1b[B\r")?;
    terminal.wait("the buffers of the second row", |text| {
        text.contains("buffers of cma-uncached-dma32")
    })?;
    terminal.press("\x1b")?;
    terminal.wait("the sums again", |text| has_row(text, "cma-uncached "))?;
    terminal.press("\x1b")?;
    terminal.wait("no filter", |text| has_row(text, "system "))?;
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

/// Returns the size of the default area. The tree of the suite has another one of 24 MiB.
fn default_area() -> Result<usize> {
    Ok(memory::meminfo("CmaTotal")? - (24 << 20))
}

// The figure is what the kernel counts, and the sparkline rises with it.
fn areas() -> Result<()> {
    let (heap, size) = (Heap::open("cma")?, default_area()?);
    let of_area = format!(" of {} MiB", size >> 20);
    let terminal = Terminal::start(80, 24)?;
    let gauge = |text: &str| {
        let mut lines = text.lines();
        lines
            .find(|line| line.contains(&of_area))
            .map(str::to_owned)
    };
    let before = terminal.wait("the area", |text| gauge(text).is_some())?;
    let before = gauge(&before).unwrap_or_default();
    let _held = heap.allocate(size / 2)?;
    let screen = terminal.wait("half of it", |text| {
        gauge(text).is_some_and(|line| line.contains("[######") && line.ends_with('█'))
    })?;
    diagnose(&screen);
    ensure!(!before.contains("[######"), "{before}");
    ensure!(
        gauge(&screen).is_some_and(|line| line.contains('▁')),
        "{screen}"
    );
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

fn saved_screens() -> Result<()> {
    let _held = Heap::open("system")?.allocate(1 << 20)?;
    let own = own_row()?;
    // Where the files come to be.
    std::env::set_current_dir("/tmp")?;
    let terminal = Terminal::start(80, 24)?;
    terminal.wait("a row", |text| text.contains(&own))?;
    for (key, suffix) in [("w", "txt"), ("W", "svg")] {
        terminal.press(key)?;
        let screen = terminal.wait("the file's name", |text| {
            text.contains("saved as ") && text.contains(&format!(".{suffix}"))
        })?;
        let name = screen.split_once("saved as ").map(|(_, rest)| rest);
        let name = name.and_then(|rest| rest.split_whitespace().next());
        let name = name.context("no name")?;
        let saved = std::fs::read_to_string(name)?;
        std::fs::remove_file(name)?;
        ensure!(saved.contains(&own) && saved.contains("1 MiB"), "{saved}");
        ensure!(saved.starts_with("<svg ") == (suffix == "svg"), "{saved}");
        ensure!(!saved.contains('\x1b'), "{saved}");
    }
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

fn once() -> Result<()> {
    let size = default_area()?;
    let _held = Heap::open("cma")?.allocate(size / 2)?;
    let output = rkheap("top --once")?;
    output.expect(0)?;
    let own = own_row()?;
    let (half, of_area) = (
        format!(" {} MiB", size >> 21),
        format!(" of {} MiB", size >> 20),
    );
    let row = output.stdout.lines().find(|line| line.starts_with(&own));
    ensure!(row.is_some_and(|row| row.contains(&half)), "{output:?}");
    let mut areas = output.stdout.lines().filter(|line| line.contains(&of_area));
    ensure!(areas.any(|area| area.contains("[######")), "{output:?}");
    Ok(())
}
