// SPDX-License-Identifier: GPL-2.0

//! The legend of a drawn area: its sums, the owners of its ranges, and the number of bytes per
//! line. The text and the SVG output of `rkheap map` share it.

use crate::layout::{
    Gap,
    HeldRange, //
};
use crate::ranges::AreaMap;
use crate::text;

/// Number of cells per line of the drawing.
pub const CELLS_PER_LINE: u64 = 64;

/// Maximum number of lines of the drawing.
const MAX_LINES: u64 = 16;

/// Returns the name of the owner of a range, in printable form.
pub fn owner(range: &HeldRange) -> String {
    let name = range.process.as_deref().or(range.name.as_deref());
    let name = text::escaped(name.unwrap_or("?"));
    match (range.pid, range.inode) {
        (Some(pid), _) => format!("{name} ({pid})"),
        (None, None) => format!("{name} (driver)"),
        (None, Some(_)) => name,
    }
}

/// Returns all owners in the order of their first ranges.
pub fn owners(ranges: &[HeldRange]) -> Vec<String> {
    let mut owners: Vec<String> = Vec::new();
    for range in ranges {
        let owner = owner(range);
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

/// Describes what is held and what is free in an area.
pub fn summary(map: &AreaMap) -> String {
    let layout = &map.layout;
    let elsewhere = match map.unlocated_bytes {
        0 => String::new(),
        bytes => format!(" and {} at unknown addresses", text::size(bytes)),
    };
    // Allocations at unknown addresses divide gaps.
    let gaps = match map.is_complete() {
        true => format!(" in {}", text::plural(layout.gaps.len(), "gap")),
        false => String::new(),
    };
    let gap = layout.largest_gap.map_or_else(
        || "no gap".to_owned(),
        |gap| {
            format!(
                "largest gap {} at {:#x}",
                largest_gap_size(map, gap),
                gap.start
            )
        },
    );
    format!(
        "held {} in {}{elsewhere}, free {}{gaps}, {gap}",
        text::size(layout.used()),
        text::plural(layout.held.len(), "range"),
        text::size(map.free()),
    )
}

/// Returns the size of the largest gap of a map, as far as it is known.
pub fn largest_gap_size(map: &AreaMap, gap: Gap) -> String {
    let up_to = match map.is_complete() {
        true => "",
        false => "up to ",
    };
    format!("{up_to}{}", text::size(gap.size().min(map.free())))
}

/// Returns the number of bytes that a line stands for in the drawing of an area of `size` bytes.
pub fn bytes_per_line(size: u64) -> u64 {
    let cell = size.div_ceil(CELLS_PER_LINE * MAX_LINES).max(4096);
    cell.checked_next_power_of_two()
        .and_then(|cell| cell.checked_mul(CELLS_PER_LINE))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_lines_is_bounded() {
        for size in [1, 4096, 24 << 20, 64 << 20, 3 << 30, u64::MAX] {
            let lines = size.div_ceil(bytes_per_line(size));
            assert!((1..=MAX_LINES).contains(&lines), "{size}: {lines}");
        }
    }
}
