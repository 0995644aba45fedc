// SPDX-License-Identifier: GPL-2.0

//! Compares the node `rk-dma-heap-info` with its content on the camera during the recorded session.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::wide;
use std::collections::BTreeSet;

const NODE: &str = "/proc/rk_dma_heap/rk-dma-heap-info";
const RECORDED: &str = include_str!("../data/rk-dma-heap-info.rv1106.txt");

/// Checks that the node has the recorded lines, with the area at `base`.
///
/// The first recorded address is shifted to `base`, inode numbers are replaced by those of the same
/// rank, and a 64-bit machine prints addresses and sizes with 16 digits.
pub fn compare(base: u64) -> Result<()> {
    let text = std::fs::read_to_string(NODE).with_context(|| format!("cannot read {NODE}"))?;
    let first = addresses(RECORDED).min().context("no address")?;
    let inodes: Vec<u64> = inodes(&text).into_iter().collect();
    let recorded: Vec<u64> = self::inodes(RECORDED).into_iter().collect();
    let mut lines = text.lines();
    for (number, line) in RECORDED.lines().enumerate() {
        let expected = translate(line, base - first, &recorded, &inodes)?;
        let found = lines.next();
        ensure!(
            found == Some(expected.as_str()),
            "line {number}: {found:?}, expected {expected:?}"
        );
    }
    let more = lines.next();
    ensure!(more.is_none(), "a line that was not recorded: {more:?}");
    let allocations = text.lines().filter(|line| line.contains("Alloc")).count();
    ensure!(allocations == 44, "{allocations} lines with \"Alloc\"");
    Ok(())
}

fn inodes(text: &str) -> BTreeSet<u64> {
    text.lines()
        .filter_map(|line| line.split_once("i_ino = ")?.1.parse().ok())
        .collect()
}

/// Returns the number after `0x` at the beginning of a text.
fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let end = digits
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

fn addresses(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.lines()
        .filter_map(|line| hexadecimal(line.split_once('[')?.1))
}

/// Returns a recorded line as it is expected here.
fn translate(line: &str, shift: u64, recorded: &[u64], inodes: &[u64]) -> Result<String> {
    if let Some((before, inode)) = line.split_once("i_ino = ") {
        let rank = recorded.binary_search(&inode.parse()?);
        let rank = rank.map_err(|_| anyhow::anyhow!("no rank"))?;
        let inode = inodes.get(rank).context("fewer buffers than recorded")?;
        return Ok(format!("{before}i_ino = {inode}"));
    }
    let Some((before, range)) = line.split_once('[') else {
        return Ok(line.to_owned());
    };
    let (start, rest) = range.split_once('-').context("no range")?;
    let (end, rest) = rest.split_once("]\t").context("no range")?;
    let (size, kib) = rest.split_once(' ').context("no size")?;
    let number = |text| hexadecimal(text).context("no number");
    Ok(format!(
        "{before}[{}-{}]\t{} {kib}",
        wide(number(start)? + shift),
        wide(number(end)? + shift),
        wide(number(size)?)
    ))
}
