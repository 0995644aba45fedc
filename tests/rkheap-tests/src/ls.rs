// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap ls`: its sizes match the allocations of these tests.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    text, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::{
    memory,
    retry::eventually, //
};
use serde_json::Value;
use std::time::Duration;

const MIB: u64 = 1 << 20;

pub fn add(tests: &mut Tests) {
    tests.add("ls/every-heap", every_heap);
    tests.add("ls/what-is-allocated", what_is_allocated);
    tests.add("ls/could-give", could_give);
    tests.add("ls/pooled", pooled);
    tests.add("ls/table", table);
}

/// Returns the entries of all heaps.
fn heaps() -> Result<Vec<Value>> {
    let listing = json("ls")?;
    ensure!(list(&listing, "remarks")?.is_empty(), "{listing}");
    Ok(list(&listing, "heaps")?.clone())
}

/// Returns the entry of a heap.
pub fn heap(name: &str) -> Result<Value> {
    heaps()?
        .into_iter()
        .find(|heap| text(heap, "heap").is_ok_and(|heap| heap == name))
        .with_context(|| format!("{name} is not listed"))
}

fn every_heap() -> Result<()> {
    let listed = heaps()?;
    let listed: Vec<_> = listed
        .iter()
        .map(|heap| text(heap, "heap"))
        .collect::<Result<_>>()?;
    ensure!(listed == heap::names()?, "{listed:?}");
    for (name, backing) in [
        ("system", "pages"),
        ("system-dma32", "pages-below4-gib"),
        ("cma", "area"),
        ("rk-dma-heap-cma", "area"),
    ] {
        let heap = heap(name)?;
        ensure!(text(&heap, "backing")? == backing, "{heap}");
    }
    Ok(())
}

fn what_is_allocated() -> Result<()> {
    let usage = |name: &str| -> Result<_> {
        let heap = heap(name)?;
        Ok((number(&heap, "used")?, number(&heap, "buffers")?))
    };
    let (system, rockchip) = (usage("system")?, usage("rk-dma-heap-cma")?);
    let free = number(&heap("rk-dma-heap-cma")?, "free")?;
    let (a, b) = (Heap::open("system")?, Heap::open("rk-dma-heap-cma")?);
    let held = [
        a.allocate(MIB as usize)?,
        a.allocate(4096)?,
        b.allocate(2 * MIB as usize)?,
    ];
    let now = usage("system")?;
    ensure!(now == (system.0 + MIB + 4096, system.1 + 2), "{now:?}");
    let now = usage("rk-dma-heap-cma")?;
    ensure!(now == (rockchip.0 + 2 * MIB, rockchip.1 + 1), "{now:?}");
    // All buffers of the system are from heaps.
    let sum: u64 = heaps()?
        .iter()
        .map(|heap| number(heap, "used").unwrap_or(0))
        .sum();
    let total = dma_buf::totals()?.bytes as u64;
    ensure!(sum == total, "{sum}, but the kernel reports {total}");
    let less = number(&heap("rk-dma-heap-cma")?, "free")?;
    ensure!(less + 2 * MIB == free, "{free}, then {less}");
    drop(held);
    ensure!(usage("system")? == system && usage("rk-dma-heap-cma")? == rockchip);
    Ok(())
}

// What a heap could give is in its area and in RAM, and shrinks by what it gives.
fn could_give() -> Result<()> {
    let figures = |name: &str| -> Result<_> {
        let heap = heap(name)?;
        let (free, ram) = (number(&heap, "free")?, number(&heap, "could_take_ram")?);
        let all = number(&heap, "could_give")?;
        ensure!(
            all == free + ram && ram <= number(&heap, "beyond_left")?,
            "{heap}"
        );
        Ok(all)
    };
    let before = figures("cma")?;
    let size = 40 * MIB;
    let held: Vec<_> = (0..10)
        .map(|_| Heap::open("cma")?.allocate(size as usize / 10))
        .collect::<Result<_>>()?;
    let after = figures("cma")?;
    ensure!(
        after + size / 2 < before && after + 2 * size > before,
        "{before}, then {after}"
    );
    drop(held);
    // The other heap has an area of its own, and nothing else.
    let heap = heap("rk-dma-heap-cma")?;
    ensure!(heap.get("could_give").is_none(), "{heap}");
    Ok(())
}

fn pooled() -> Result<()> {
    let heap = Heap::open("system")?;
    drop(heap.allocate(4 * MIB as usize)?);
    eventually(Duration::from_secs(10), || {
        let listed: u64 = heaps()?
            .iter()
            .map(|heap| number(heap, "pooled").unwrap_or(0))
            .sum();
        let pooled = memory::pooled()? as u64;
        ensure!(
            pooled >= 4 * MIB && listed == pooled,
            "{listed}, but sysfs reports {pooled}"
        );
        Ok(())
    })
}

// The area's row has what the kernel counts, and the heaps are beneath it.
fn table() -> Result<()> {
    let _held = Heap::open("cma")?.allocate(3 * MIB as usize / 2)?;
    let output = rkheap("ls")?;
    output.expect(0)?;
    let lines: Vec<&str> = output.stdout.lines().collect();
    let is_beneath = |line: &&str| line.starts_with("  ") && line.contains("cma 1.5 MiB,");
    let beneath = lines.iter().position(is_beneath);
    let row = beneath.and_then(|beneath| lines.get(beneath.checked_sub(1)?));
    let row = row.with_context(|| format!("no row for cma: {}", output.stdout))?;
    let free = number(&heap("cma")?, "free")?;
    let used = number(&heap("cma")?, "size")?.saturating_sub(free) / MIB;
    ensure!(
        row.contains(&format!(" {used}.")) || row.contains(&format!(" {used} MiB")),
        "{row}"
    );
    ensure!(row.contains("[#") && row.ends_with("yes"), "{row}");
    for line in &lines {
        ensure!(line.chars().count() <= 80, "too wide: {line}");
    }
    ensure!(!output.stdout.contains('\x1b'), "colors without a terminal");
    let output = rkheap("ls --heaps")?;
    output.expect(0)?;
    let line = output.stdout.lines().find(|line| line.starts_with("cma "));
    let line = line.with_context(|| format!("no line for cma: {}", output.stdout))?;
    ensure!(line.contains(" 1.5 MiB "), "{line}");
    Ok(())
}
