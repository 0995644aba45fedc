// SPDX-License-Identifier: GPL-2.0

//! `rkheap ls`: its figures are those of what is allocated here.

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
    process::eventually, //
};
use serde_json::Value;
use std::time::Duration;

const MIB: u64 = 1 << 20;

pub fn add(tests: &mut Tests) {
    tests.add("ls/every-heap", every_heap);
    tests.add("ls/what-is-allocated", what_is_allocated);
    tests.add("ls/pooled", pooled);
    tests.add("ls/table", table);
}

fn heaps() -> Result<Vec<Value>> {
    let listing = json("ls")?;
    ensure!(list(&listing, "remarks")?.is_empty(), "{listing}");
    Ok(list(&listing, "heaps")?.clone())
}

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
    let figures = |name: &str| -> Result<_> {
        let heap = heap(name)?;
        Ok((number(&heap, "used")?, number(&heap, "buffers")?))
    };
    let (system, rockchip) = (figures("system")?, figures("rk-dma-heap-cma")?);
    let free = number(&heap("rk-dma-heap-cma")?, "free")?;
    let (a, b) = (Heap::open("system")?, Heap::open("rk-dma-heap-cma")?);
    let held = [
        a.allocate(MIB as usize)?,
        a.allocate(4096)?,
        b.allocate(2 * MIB as usize)?,
    ];
    let now = figures("system")?;
    ensure!(now == (system.0 + MIB + 4096, system.1 + 2), "{now:?}");
    let now = figures("rk-dma-heap-cma")?;
    ensure!(now == (rockchip.0 + 2 * MIB, rockchip.1 + 1), "{now:?}");
    // All of the system's buffers are the heaps'.
    let sum: u64 = heaps()?
        .iter()
        .map(|heap| number(heap, "used").unwrap_or(0))
        .sum();
    let kernels = dma_buf::totals()?.bytes as u64;
    ensure!(sum == kernels, "{sum}, and the kernel says {kernels}");
    let less = number(&heap("rk-dma-heap-cma")?, "free")?;
    ensure!(less + 2 * MIB == free, "{free}, then {less}");
    drop(held);
    ensure!(figures("system")? == system && figures("rk-dma-heap-cma")? == rockchip);
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
            "{listed}, and sysfs says {pooled}"
        );
        Ok(())
    })
}

fn table() -> Result<()> {
    let _held = Heap::open("cma")?.allocate(3 * MIB as usize / 2)?;
    let ran = rkheap("ls")?;
    ran.expect(0)?;
    let line = ran.stdout.lines().find(|line| line.starts_with("cma "));
    let line = line.with_context(|| format!("no line of cma: {}", ran.stdout))?;
    ensure!(line.contains(" 1.5 MiB "), "{line}");
    ensure!(!ran.stdout.contains('\x1b'), "colours, and no terminal");
    Ok(())
}
