// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap map` on a machine whose Rockchip heap has an area of its own.

use crate::ls;
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
use guest_support::dma_buf::SetName;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::page_size;
use serde_json::Value;

const ROCKCHIP: &str = "rk-dma-heap-cma";
const MIB: usize = 1 << 20;

pub fn add(tests: &mut Tests) {
    tests.add("map/ranges", ranges);
    tests.add("map/largest-gap", largest_gap);
    tests.add("map/advanced", advanced);
    tests.add("map/as-text", as_text);
    tests.add("map/svg", svg);
    tests.add("map/refused", refused);
}

/// Returns the addresses of the Rockchip heap's buffers, read directly from the module.
fn module_ranges() -> Result<Vec<(u64, u64)>> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    let mut ranges: Vec<_> = text
        .lines()
        .filter(|line| line.contains("Alloc by"))
        .map(|line| {
            let mut numbers = line
                .split(['[', '-', ']'])
                .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
            let (start, last) = (numbers.next(), numbers.next());
            start.zip(last).context("no range")
        })
        .collect::<Result<_>>()?;
    ranges.sort_unstable();
    Ok(ranges)
}

fn ranges() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let named = heap.allocate(3 * MIB)?;
    named.set_name("three", SetName::Pointer64)?;
    let others = [heap.allocate(MIB)?, heap.allocate(page_size())?];
    let map = json("map rk-dma-heap-cma")?;
    let held = list(&map, "held")?;
    let shown: Vec<_> = held
        .iter()
        .map(|held| Ok((number(held, "start")?, number(held, "end")? - 1)))
        .collect::<Result<_>>()?;
    ensure!(
        shown == module_ranges()? && shown.len() == 3,
        "{shown:x?}, {:x?}",
        module_ranges()?
    );
    for (buffer, size) in [
        (&named, 3 * MIB),
        (&others[0], MIB),
        (&others[1], page_size()),
    ] {
        let inode = buffer.inode()?;
        let range = held
            .iter()
            .find(|held| number(held, "inode").ok() == Some(inode))
            .with_context(|| format!("{inode} is not in {map}"))?;
        ensure!(
            number(range, "end")? - number(range, "start")? == size as u64,
            "{range}"
        );
        ensure!(
            number(range, "pid")? == u64::from(std::process::id()),
            "{range}"
        );
        if inode == named.inode()? {
            ensure!(text(range, "name")? == "three", "{range}");
        }
    }
    ensure!(
        number(&map, "held_bytes")? == (4 * MIB + page_size()) as u64,
        "{map}"
    );
    ensure!(number(&map, "elsewhere_bytes")? == 0, "{map}");
    Ok(())
}

/// Returns the size of the largest gap.
fn gap(map: &Value) -> Result<u64> {
    let gap = map.get("largest_gap").context("no gap")?;
    Ok(number(gap, "end")? - number(gap, "start")?)
}

// Allocations from the heap verify the size of the largest gap.
fn largest_gap() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let whole = gap(&json("map rk-dma-heap-cma")?)?;
    ensure!(
        whole == 24 * MIB as u64,
        "{whole}: unexpected size of the area"
    );
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(heap.allocate(4 * MIB)?);
    }
    let full = json("map rk-dma-heap-cma")?;
    ensure!(
        full.get("largest_gap").is_some_and(Value::is_null),
        "{full}"
    );
    // Holes of 4, 8 and 4 MiB.
    for index in [5, 3, 2, 0] {
        drop(held.remove(index));
    }
    let map = json("map rk-dma-heap-cma")?;
    let shown = usize::try_from(gap(&map)?)?;
    ensure!(shown == 8 * MIB, "{shown}");
    ensure!(list(&map, "gaps")?.len() == 3, "{map}");
    ensure!(number(&ls::heap(ROCKCHIP)?, "largest_free")? == shown as u64);
    ensure!(
        heap.allocate(shown + page_size()).is_err(),
        "a larger gap exists"
    );
    let filling = heap.allocate(shown)?;
    ensure!(gap(&json("map rk-dma-heap-cma")?)? == 4 * MIB as u64);
    drop(filling);
    Ok(())
}

fn advanced() -> Result<()> {
    let node = "/proc/rk_dmabuf/advanced";
    let buffer = Heap::open("cma")?.allocate(MIB)?;
    let output = rkheap("--json map cma")?;
    output.expect(3)?;
    let plain = output.json()?;
    ensure!(number(&plain, "buffers_without_place")? == 1, "{plain}");
    let elsewhere = number(&plain, "elsewhere_bytes")?;
    ensure!(elsewhere >= MIB as u64, "{plain}");
    // Memory whose place is unknown is not free.
    let size = number(&plain, "end")? - number(&plain, "start")?;
    let held = number(&plain, "held_bytes")?;
    ensure!(
        number(&plain, "free_bytes")? == size - held - elsewhere,
        "{plain}"
    );
    let text = rkheap("map cma")?;
    ensure!(
        text.expect(3)?
            .stdout
            .contains(" at unknown addresses, free "),
        "{text:?}"
    );
    ensure!(text.stdout.contains("largest gap up to "), "{text:?}");
    let output = rkheap("--json map --advanced cma")?;
    let map = output.json()?;
    // Drivers may have allocated from the default area.
    let is_complete = number(&map, "elsewhere_bytes")? == 0;
    output.expect(if is_complete { 0 } else { 3 })?;
    ensure!(number(&map, "buffers_without_place")? == 0, "{map}");
    ensure!(
        std::fs::read_to_string(node)? == "0\n",
        "advanced mode is still enabled"
    );
    let [held] = &list(&map, "held")?[..] else {
        anyhow::bail!("not exactly one range: {map}");
    };
    ensure!(number(held, "inode")? == buffer.inode()?, "{held}");
    // Compare with the node of the module.
    std::fs::write(node, "1")?;
    let rows = std::fs::read_to_string("/proc/rk_dmabuf/sgt");
    std::fs::write(node, "0")?;
    let range = format!(
        "{}..{} ",
        guest_support::wide(number(held, "start")?),
        guest_support::wide(number(held, "end")? - 1)
    );
    let rows = rows?;
    ensure!(rows.contains(&range), "{range} is not in {rows}");
    Ok(())
}

fn as_text() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let _held = [heap.allocate(2 * MIB)?, heap.allocate(MIB)?];
    let output = rkheap("map rk-dma-heap-cma")?;
    output.expect(0)?;
    ensure!(
        output
            .stdout
            .contains("held 3 MiB in 2 ranges, free 21 MiB in 1 gap, largest gap 21 MiB at "),
        "{output:?}"
    );
    let (full, half) = (
        "A".repeat(64),
        format!("{}{}", "A".repeat(32), ".".repeat(32)),
    );
    ensure!(
        output.stdout.contains(&full) && output.stdout.contains(&half),
        "{output:?}"
    );
    Ok(())
}

fn svg() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let held = heap.allocate(3 * MIB)?;
    held.set_name("<\x1b&", SetName::Pointer64)?;
    rkheap("map rk-dma-heap-cma --svg /tmp/map.svg")?.expect(0)?;
    let picture = std::fs::read_to_string("/tmp/map.svg")?;
    ensure!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    ensure!(picture.contains("&lt;\\u{1b}&amp;"), "{picture}");
    ensure!(!picture.chars().any(|c| c != '\n' && c.is_control()));
    ensure!(rkheap("map rk-dma-heap-cma --svg -")?.stdout == picture);
    Ok(())
}

fn refused() -> Result<()> {
    rkheap("map system")?
        .expect(4)?
        .reports("has no contiguous area")?;
    rkheap("map none")?
        .expect(3)?
        .reports("heap none does not exist")?;
    rkheap("map ../null")?.expect(3)?;
    rkheap("map rk-dma-heap-cma --svg /none/file")?
        .expect(4)?
        .reports("/none/file")
}
