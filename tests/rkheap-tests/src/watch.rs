// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap watch` and `rkheap plot`.

use crate::program::rkheap;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use std::fs;

pub fn add(tests: &mut Tests) {
    tests.add("watch/csv", csv);
    tests.add("watch/json-lines", json_lines);
    tests.add("watch/other-formats", other_formats);
}

/// Watches a buffer of a size that no other has, and returns the lines of the file with it.
fn watch(file: &str) -> Result<Vec<String>> {
    let _buffer = Heap::open("system")?.allocate(7 << 20)?;
    rkheap(&format!("watch --out {file} --interval 0.1 --count 3"))?.expect(0)?;
    let text = fs::read_to_string(file)?;
    let lines = text.lines().filter(|line| line.contains("7340032"));
    Ok(lines.map(str::to_owned).collect())
}

/// Draws the file. The heap has a line.
fn plot(file: &str) -> Result<()> {
    const SVG: &str = "/tmp/watch.svg";
    rkheap(&format!("plot {file} --svg {SVG}"))?.expect(0)?;
    let svg = fs::read_to_string(SVG)?;
    ensure!(svg.starts_with("<svg") && svg.contains("system"), "{svg}");
    let output = rkheap(&format!("plot {file} --svg -"))?;
    ensure!(output.expect(0)?.stdout == svg, "{output:?}");
    Ok(())
}

fn csv() -> Result<()> {
    const FILE: &str = "/tmp/watch.csv";
    let lines = watch(FILE)?;
    ensure!(lines.len() == 3, "{lines:?}");
    for line in &lines {
        let (time, rest) = line.split_once(',').context("one field")?;
        time.parse::<u64>()?;
        ensure!(rest == "system,,1,7340032", "{line}");
    }
    plot(FILE)
}

fn json_lines() -> Result<()> {
    const FILE: &str = "/tmp/watch.jsonl";
    let lines = watch(FILE)?;
    ensure!(lines.len() == 3, "{lines:?}");
    let value: serde_json::Value = serde_json::from_str(&lines[0])?;
    ensure!(
        value["name"] == "system" && value["bytes"] == 7 << 20,
        "{value}"
    );
    plot(FILE)
}

fn other_formats() -> Result<()> {
    rkheap("watch --out /tmp/watch.txt --count 1")?
        .expect(4)?
        .reports("must end with .csv")?;
    fs::write("/tmp/other.csv", "a,b\n1,2\n")?;
    rkheap("plot /tmp/other.csv --svg -")?
        .expect(4)?
        .reports("was not written by rkheap watch")
}
