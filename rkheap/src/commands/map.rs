// SPDX-License-Identifier: GPL-2.0

//! `rkheap map`: the held ranges of an area.

use crate::areas::{
    Area,
    Areas,
    Backing, //
};
use crate::arguments::Map;
use crate::buffer::total_size;
use crate::exit::{
    Missing,
    Status, //
};
use crate::heaps;
use crate::layout::{
    Gap,
    HeldRange, //
};
use crate::legend::{
    bytes_per_line,
    owner,
    owners,
    summary,
    CELLS_PER_LINE, //
};
use crate::module;
use crate::output::Output;
use crate::parse::list_file::ADVANCED;
use crate::ranges::{
    AreaMap,
    Ranges, //
};
use crate::svg;
use crate::system::System;
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::{
    anyhow,
    bail,
    ensure,
    Context,
    Result, //
};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Report<'a> {
    heap: &'a str,
    area: &'a str,
    /// Whether `start` and `end` are those of the area. If not, they are those of its held ranges.
    whole_area: bool,
    /// Whether the places of all allocations are known. If not, gaps may be smaller.
    complete: bool,
    start: u64,
    end: u64,
    held: &'a [HeldRange],
    held_bytes: u64,
    gaps: &'a [Gap],
    free_bytes: u64,
    largest_gap: Option<Gap>,
    /// Bytes at unknown addresses, allocated by buffers and by drivers.
    elsewhere_bytes: u64,
    buffers_without_place: usize,
    remarks: &'a [String],
}

/// Runs the command. Fails with [`Missing`] if the heap, its area or its addresses are unknown.
pub fn run(system: &System, output: Output, options: &Map) -> Result<Status> {
    heaps::node(system, &options.heap)?;
    let areas = Areas::read(system);
    let area = match (areas.of_heap(&options.heap), areas.backing(&options.heap)) {
        (Some(area), _) => area,
        (None, Backing::Pages | Backing::PagesBelow4Gib) => bail!(
            "{} allocates from all RAM and has no contiguous area: name a heap with an area, see \
             rkheap ls",
            options.heap
        ),
        (None, _) => bail!(Missing(format!(
            "the area of heap {} is unknown, because neither /sys/kernel/mm/cma nor the device \
             tree has an area of that name: name another heap, see rkheap ls",
            text::escaped(&options.heap)
        ))),
    };
    let ranges = {
        let _advanced = options
            .advanced
            .then(|| AdvancedMode::enable(system))
            .transpose()?;
        Ranges::read(system)
    };
    if ranges.hidden {
        bail!(Missing(
            "addresses are readable by root only: use sudo rkheap map".to_owned()
        ));
    }
    let map = ranges.of_area(&areas, area);
    if !map.whole && map.layout.held.is_empty() {
        bail!(Missing(format!(
            "neither the base of area {} nor an address in it is known: use sudo rkheap map \
             --advanced soon after boot, while the kernel log has its beginning",
            text::escaped(&area.name)
        )));
    }
    let status = match map.is_complete() {
        true => Status::Done,
        false => Status::Incomplete,
    };
    let remarks = remarks(system, &ranges, area, &map);
    if let Some(path) = &options.svg {
        let drawing = svg::draw(&options.heap, &area.name, &map);
        if path == Path::new("-") {
            output.print_text(&drawing)?;
            output.print_remarks(&remarks);
            return Ok(status);
        }
        std::fs::write(path, drawing)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let layout = &map.layout;
    if output.json {
        output.print_json(&Report {
            heap: &options.heap,
            area: &area.name,
            whole_area: map.whole,
            complete: map.is_complete(),
            start: layout.start,
            end: layout.end,
            held: &layout.held,
            held_bytes: layout.used(),
            gaps: &layout.gaps,
            free_bytes: map.free(),
            largest_gap: layout.largest_gap,
            elsewhere_bytes: map.unlocated_bytes,
            buffers_without_place: map.unlocated.len(),
            remarks: &remarks,
        })?;
        return Ok(status);
    }
    output.print_lines(&lines(output, &options.heap, area, &map))?;
    output.print_remarks(&remarks);
    Ok(status)
}

/// Returns what is missing in the map and how to get it.
fn remarks(system: &System, ranges: &Ranges, area: &Area, map: &AreaMap) -> Vec<String> {
    let mut remarks = ranges.survey.remarks.clone();
    if !map.whole {
        remarks.push(format!(
            "the base of area {} is unknown, because the kernel log is readable by root only or \
             has lost its beginning, and the map covers only the first to the last held range: \
             use sudo soon after boot",
            text::escaped(&area.name)
        ));
    }
    if !map.beyond.is_empty() {
        remarks.push(format!(
            "{} with {} are in RAM outside of the area, which had no place for them",
            text::plural(map.beyond.len(), "buffer"),
            text::size(total_size(&map.beyond))
        ));
    }
    let unlocated_buffers = total_size(&map.unlocated);
    if !map.unlocated.is_empty() {
        let (cause, cure) = if module::is_loaded(system) {
            (
                "no device maps them",
                "use rkheap map --advanced as root, which maps them while it reads",
            )
        } else {
            ("the module is not loaded", module::LOAD_HINT)
        };
        remarks.push(format!(
            "the addresses of {} with {} are unknown, because {cause}: {cure}",
            text::plural(map.unlocated.len(), "buffer"),
            text::size(unlocated_buffers)
        ));
    }
    let others = map.unlocated_bytes.saturating_sub(unlocated_buffers);
    if others > 0 {
        remarks.push(format!(
            "{} are allocated by drivers without a buffer, or were freed within the last second, \
             at addresses that the kernel does not publish: the largest gap may be smaller",
            text::size(others)
        ));
    }
    remarks
}

/// Returns the lines of the text output.
fn lines(output: Output, heap: &str, area: &Area, map: &AreaMap) -> Vec<String> {
    let layout = &map.layout;
    let mut lines = vec![output.bold(&format!(
        "{}: area {}, {} from {:#x} to {:#x}",
        text::escaped(heap),
        text::escaped(&area.name),
        text::size(layout.size()),
        layout.start,
        layout.end.saturating_sub(1).max(layout.start),
    ))];
    lines.push(summary(map));
    if layout.size() == 0 {
        return lines;
    }
    lines.push(String::new());
    lines.extend(drawing(map));
    if layout.held.is_empty() {
        return lines;
    }
    lines.push(String::new());
    let mut table = Table::new(&[
        ("", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("SIZE", Align::Right),
        ("HEAP", Align::Left),
        ("NAME", Align::Left),
        ("WHO", Align::Left),
    ]);
    let owners = owners(&layout.held);
    for held in &layout.held {
        let owner = owner(held);
        table.add_row(vec![
            letter(&owners, &owner).to_string(),
            format!("{:#x}", held.start),
            format!("{:#x}", held.end.saturating_sub(1)),
            text::size(held.end.saturating_sub(held.start)),
            text::escaped(&held.heap),
            held.name.as_deref().map_or("-".to_owned(), text::escaped),
            owner,
        ]);
    }
    lines.extend(table.lines("  "));
    lines
}

/// Returns the letter of an owner. All owners after the 26th share `*`.
fn letter(owners: &[String], owner: &str) -> char {
    let index = owners.iter().position(|known| known == owner);
    index
        .and_then(|index| u8::try_from(index).ok())
        .filter(|index| *index < 26)
        .map_or('*', |index| char::from(b'A' + index))
}

/// Draws the area in lines, one character per cell.
fn drawing(map: &AreaMap) -> Vec<String> {
    let layout = &map.layout;
    let owners = owners(&layout.held);
    let bytes = bytes_per_line(layout.size());
    let cell = bytes / CELLS_PER_LINE;
    let mut lines = Vec::new();
    let mut start = layout.start;
    while start < layout.end {
        let end = start.saturating_add(bytes).min(layout.end);
        let mut line = format!("  {start:#010x}  ");
        let mut from = start;
        while from < end {
            let to = from.saturating_add(cell).min(end);
            line.push(character(&owners, &layout.held, from, to));
            from = to;
        }
        lines.push(line);
        start = end;
    }
    lines.push(format!(
        "  a character is {}: . free, a letter held (small: in part), + held by several",
        text::size(cell)
    ));
    lines
}

/// Returns the character of the cell from `from` to `to`.
fn character(owners: &[String], held: &[HeldRange], from: u64, to: u64) -> char {
    let overlapping: Vec<&HeldRange> = held
        .iter()
        .filter(|held| held.start < to && held.end > from)
        .collect();
    let Some(first) = overlapping.first() else {
        return '.';
    };
    let first_owner = owner(first);
    if overlapping.iter().any(|held| owner(held) != first_owner) {
        return '+';
    }
    let mut covered = from;
    for held in overlapping {
        if held.start <= covered {
            covered = covered.max(held.end);
        }
    }
    let letter = letter(owners, &first_owner);
    if covered >= to {
        letter
    } else {
        letter.to_ascii_lowercase()
    }
}

/// Enables advanced mode for its lifetime. Dropping it restores the previous state.
#[must_use]
struct AdvancedMode<'a> {
    system: &'a System,
    was_on: bool,
}

impl<'a> AdvancedMode<'a> {
    /// Enables advanced mode. Fails with [`Missing`] if the node is missing or this user is not
    /// root.
    fn enable(system: &'a System) -> Result<Self> {
        if !module::is_loaded(system) {
            return Err(Missing(format!("{ADVANCED} is missing: {}", module::LOAD_HINT)).into());
        }
        ensure!(
            system.is_running(),
            "--advanced is not possible on a recorded system: remove --advanced or --root"
        );
        let was_on = system.number(ADVANCED) == Some(1);
        if !was_on {
            std::fs::write(system.path(ADVANCED), "1").map_err(|error| match error.kind() {
                std::io::ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
                    "{ADVANCED} is writable by root only: use sudo rkheap map --advanced"
                ))),
                _ => anyhow!("cannot write to {ADVANCED}: {error}"),
            })?;
        }
        Ok(AdvancedMode { system, was_on })
    }
}

impl Drop for AdvancedMode<'_> {
    fn drop(&mut self) {
        if !self.was_on {
            let _ = std::fs::write(self.system.path(ADVANCED), "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(start: u64, end: u64, pid: u32) -> HeldRange {
        HeldRange {
            start,
            end,
            pid: Some(pid),
            ..HeldRange::default()
        }
    }

    #[test]
    fn cells_show_their_owners() {
        let all = [held(0, 4, 1), held(4, 6, 1), held(8, 9, 2), held(9, 12, 1)];
        let owners = owners(&all);
        let cells: String = (0..4)
            .map(|cell| character(&owners, &all, cell * 4, cell * 4 + 4))
            .collect();
        assert_eq!(cells, "Aa+.");
        let unlisted = held(1, 2, 9);
        assert_eq!(character(&[], &[unlisted], 0, 4), '*');
    }
}
