// SPDX-License-Identifier: GPL-2.0

//! `rkheap map`, on a machine whose Rockchip heap has an area of its own.

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

/// Where the module says that the Rockchip heap's buffers lie: the vendor's node, read here by
/// itself.
fn places() -> Result<Vec<(u64, u64)>> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    let mut places: Vec<_> = text
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
    places.sort_unstable();
    Ok(places)
}

fn ranges() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let named = heap.allocate(3 * MIB)?;
    named.set_name("three", SetName::Pointer64)?;
    let others = [heap.allocate(MIB)?, heap.allocate(page_size())?];
    let map = json("map rk-dma-heap-cma")?;
    let held = list(&map, "held")?;
    let told: Vec<_> = held
        .iter()
        .map(|held| Ok((number(held, "start")?, number(held, "end")? - 1)))
        .collect::<Result<_>>()?;
    ensure!(
        told == places()? && told.len() == 3,
        "{told:x?}, {:x?}",
        places()?
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

fn gap(map: &Value) -> Result<u64> {
    let gap = map.get("largest_gap").context("no gap")?;
    Ok(number(gap, "end")? - number(gap, "start")?)
}

// The heap itself says whether a gap is that large.
fn largest_gap() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let whole = gap(&json("map rk-dma-heap-cma")?)?;
    ensure!(whole == 24 * MIB as u64, "{whole}: not this machine's area");
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
    let told = usize::try_from(gap(&map)?)?;
    ensure!(told == 8 * MIB, "{told}");
    ensure!(list(&map, "gaps")?.len() == 3, "{map}");
    ensure!(number(&ls::heap(ROCKCHIP)?, "largest_free")? == told as u64);
    ensure!(
        heap.allocate(told + page_size()).is_err(),
        "there is a larger gap"
    );
    let filling = heap.allocate(told)?;
    ensure!(gap(&json("map rk-dma-heap-cma")?)? == 4 * MIB as u64);
    drop(filling);
    Ok(())
}

fn advanced() -> Result<()> {
    let node = "/proc/rk_dmabuf/advanced";
    let buffer = Heap::open("cma")?.allocate(MIB)?;
    let plain = json("map cma")?;
    ensure!(number(&plain, "buffers_without_place")? == 1, "{plain}");
    ensure!(number(&plain, "elsewhere_bytes")? >= MIB as u64, "{plain}");
    let map = json("map --advanced cma")?;
    ensure!(number(&map, "buffers_without_place")? == 0, "{map}");
    ensure!(std::fs::read_to_string(node)? == "0\n", "it was left on");
    let [held] = &list(&map, "held")?[..] else {
        anyhow::bail!("not the one: {map}");
    };
    ensure!(number(held, "inode")? == buffer.inode()?, "{held}");
    // The node itself, read here.
    std::fs::write(node, "1")?;
    let rows = std::fs::read_to_string("/proc/rk_dmabuf/sgt");
    std::fs::write(node, "0")?;
    let place = format!(
        "{}..{} ",
        guest_support::wide(number(held, "start")?),
        guest_support::wide(number(held, "end")? - 1)
    );
    let rows = rows?;
    ensure!(rows.contains(&place), "{place} is not in {rows}");
    Ok(())
}

fn as_text() -> Result<()> {
    let heap = Heap::open(ROCKCHIP)?;
    let _held = [heap.allocate(2 * MIB)?, heap.allocate(MIB)?];
    let ran = rkheap("map rk-dma-heap-cma")?;
    ran.expect(0)?;
    ensure!(
        ran.stdout
            .contains("held 3 MiB in 2 ranges, free 21 MiB in 1 gap, largest gap 21 MiB at "),
        "{ran:?}"
    );
    let (full, half) = (
        "A".repeat(64),
        format!("{}{}", "A".repeat(32), ".".repeat(32)),
    );
    ensure!(
        ran.stdout.contains(&full) && ran.stdout.contains(&half),
        "{ran:?}"
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
    rkheap("map system")?.expect(4)?.says("from anywhere")?;
    rkheap("map none")?
        .expect(3)?
        .says("there is no heap none")?;
    rkheap("map ../null")?.expect(3)?;
    rkheap("map rk-dma-heap-cma --svg /none/file")?
        .expect(4)?
        .says("/none/file")
}
