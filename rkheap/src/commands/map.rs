// SPDX-License-Identifier: GPL-2.0

//! `rkheap map`

use crate::areas::{
    Area,
    Areas,
    Kind, //
};
use crate::arguments::Map;
use crate::buffers::{
    module_is_loaded,
    LOAD_IT, //
};
use crate::exit::{
    Missing,
    Status, //
};
use crate::heaps;
use crate::layout::{
    Gap,
    Held, //
};
use crate::output::Output;
use crate::parse::list_file::ADVANCED;
use crate::ranges::{
    Known,
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

/// How many cells a line of the picture has, and how many lines at the most.
pub const CELLS: u64 = 64;
const LINES: u64 = 16;

#[derive(Serialize)]
struct Report<'a> {
    heap: &'a str,
    area: &'a str,
    /// Whether these are the ends of the area; if not, of what is held in it.
    whole_area: bool,
    start: u64,
    end: u64,
    held: &'a [Held],
    held_bytes: u64,
    gaps: &'a [Gap],
    free_bytes: u64,
    largest_gap: Option<Gap>,
    /// What is held at places that are not known, buffers and what drivers have taken otherwise.
    elsewhere_bytes: u64,
    buffers_without_place: usize,
    remarks: &'a [String],
}

/// Who holds a range, as the legend names it.
pub fn owner(held: &Held) -> String {
    let name = held.process.as_deref().or(held.name.as_deref());
    let name = text::shown(name.unwrap_or("?"));
    match (held.pid, held.inode) {
        (Some(pid), _) => format!("{name} ({pid})"),
        (None, None) => format!("{name} (driver)"),
        (None, Some(_)) => name,
    }
}

/// All owners, in the order of their first ranges.
pub fn owners(held: &[Held]) -> Vec<String> {
    let mut owners: Vec<String> = Vec::new();
    for held in held {
        let owner = owner(held);
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners
}

/// How many bytes a line of the picture stands for.
pub fn line_bytes(size: u64) -> u64 {
    let cell = size.div_ceil(CELLS * LINES).max(4096);
    cell.checked_next_power_of_two()
        .and_then(|cell| cell.checked_mul(CELLS))
        .unwrap_or(u64::MAX)
}

pub fn run(system: &System, output: Output, options: &Map) -> Result<Status> {
    heaps::node(system, &options.heap)?;
    let areas = Areas::read(system);
    let area = match (areas.of_heap(&options.heap), areas.kind(&options.heap)) {
        (Some(area), _) => area,
        (None, Kind::Pages | Kind::PagesBelow4Gib) => bail!(
            "{} takes its pages from anywhere, so there is no area to show",
            options.heap
        ),
        (None, _) => bail!(Missing(format!(
            "which area {} takes its memory from is not known: neither /sys/kernel/mm/cma nor the device tree has one \
             of that name",
            text::shown(&options.heap)
        ))),
    };
    let ranges = {
        let _advanced = options.advanced.then(|| Advanced::on(system)).transpose()?;
        Ranges::read(system)
    };
    if ranges.hidden {
        bail!(Missing(
            "addresses are for root alone; sudo rkheap map shows them".to_owned()
        ));
    }
    let known = ranges.of_area(&areas, area);
    let remarks = remarks(system, &ranges, area, &known);
    if let Some(path) = &options.svg {
        let picture = svg::draw(&options.heap, &area.name, &known);
        if path == Path::new("-") {
            output.text(&picture)?;
            output.remarks(&remarks);
            return Ok(Status::Done);
        }
        std::fs::write(path, picture)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let layout = &known.layout;
    if output.json {
        output.value(&Report {
            heap: &options.heap,
            area: &area.name,
            whole_area: known.whole,
            start: layout.start,
            end: layout.end,
            held: &layout.held,
            held_bytes: layout.used(),
            gaps: &layout.gaps,
            free_bytes: layout.free(),
            largest_gap: layout.largest,
            elsewhere_bytes: known.elsewhere,
            buffers_without_place: known.unplaced.len(),
            remarks: &remarks,
        })?;
        return Ok(Status::Done);
    }
    output.lines(&lines(output, &options.heap, area, &known))?;
    output.remarks(&remarks);
    Ok(Status::Done)
}

fn remarks(system: &System, ranges: &Ranges, area: &Area, known: &Known) -> Vec<String> {
    let mut remarks = ranges.survey.remarks.clone();
    if !known.whole {
        remarks.push(format!(
            "where area {} begins is not known: the kernel's log tells it, but may be read by root alone, or has lost its \
             beginning. Shown is what lies between the first and the last range that is held",
            text::shown(&area.name)
        ));
    }
    if !known.unplaced.is_empty() {
        let size = known
            .unplaced
            .iter()
            .fold(0u64, |sum, buffer| sum.saturating_add(buffer.size));
        let cure = if !module_is_loaded(system) {
            LOAD_IT
        } else {
            "no device has them mapped: rkheap map --advanced maps them while it reads (as root)"
        };
        remarks.push(format!(
            "of {} with {} it is not known where they lie; {cure}",
            text::plural(known.unplaced.len(), "buffer"),
            text::size(size)
        ));
    }
    let waiting = known
        .unplaced
        .iter()
        .fold(0u64, |sum, buffer| sum.saturating_add(buffer.size));
    let others = known.elsewhere.saturating_sub(waiting);
    if others > 0 {
        remarks.push(format!(
            "{} more are taken by drivers without a buffer, or were freed within the last second, at places that the kernel does not tell: the largest gap may \
             be smaller",
            text::size(others)
        ));
    }
    remarks
}

fn lines(output: Output, heap: &str, area: &Area, known: &Known) -> Vec<String> {
    let layout = &known.layout;
    let mut lines = vec![output.bold(&format!(
        "{}: area {}, {} from {:#x} to {:#x}",
        text::shown(heap),
        text::shown(&area.name),
        text::size(layout.size()),
        layout.start,
        layout.end.saturating_sub(1).max(layout.start),
    ))];
    let gap = layout.largest.map_or_else(
        || "no gap".to_owned(),
        |gap| format!("largest gap {} at {:#x}", text::size(gap.size()), gap.start),
    );
    lines.push(format!(
        "held {} in {}, free {} in {}, {gap}",
        text::size(layout.used()),
        text::plural(layout.held.len(), "range"),
        text::size(layout.free()),
        text::plural(layout.gaps.len(), "gap"),
    ));
    if layout.size() == 0 {
        return lines;
    }
    lines.push(String::new());
    lines.extend(picture(known));
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
        table.row(vec![
            letter(&owners, &owner).to_string(),
            format!("{:#x}", held.start),
            format!("{:#x}", held.end.saturating_sub(1)),
            text::size(held.end.saturating_sub(held.start)),
            text::shown(&held.heap),
            held.name.as_deref().map_or("-".to_owned(), text::shown),
            owner,
        ]);
    }
    lines.extend(table.lines("  "));
    lines
}

/// A letter for an owner; those who come late share one.
fn letter(owners: &[String], owner: &str) -> char {
    let index = owners.iter().position(|known| known == owner);
    index
        .and_then(|index| u8::try_from(index).ok())
        .filter(|index| *index < 26)
        .map_or('*', |index| char::from(b'A' + index))
}

/// The area line by line, a character a cell.
fn picture(known: &Known) -> Vec<String> {
    let layout = &known.layout;
    let owners = owners(&layout.held);
    let bytes = line_bytes(layout.size());
    let cell = bytes / CELLS;
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

fn character(owners: &[String], held: &[Held], from: u64, to: u64) -> char {
    let here: Vec<&Held> = held
        .iter()
        .filter(|held| held.start < to && held.end > from)
        .collect();
    let Some(first) = here.first() else {
        return '.';
    };
    let whose = owner(first);
    if here.iter().any(|held| owner(held) != whose) {
        return '+';
    }
    let mut covered = from;
    for held in here {
        if held.start <= covered {
            covered = covered.max(held.end);
        }
    }
    let letter = letter(owners, &whose);
    if covered >= to {
        letter
    } else {
        letter.to_ascii_lowercase()
    }
}

/// Advanced mode, switched on as long as this lives if it was off.
struct Advanced<'a> {
    system: &'a System,
    was_on: bool,
}

impl<'a> Advanced<'a> {
    fn on(system: &'a System) -> Result<Self> {
        if !module_is_loaded(system) {
            return Err(Missing(format!("{ADVANCED} is not there; {LOAD_IT}")).into());
        }
        ensure!(
            system.is_running(),
            "a recorded system is as it was when it was recorded"
        );
        let was_on = system.number(ADVANCED) == Some(1);
        if !was_on {
            std::fs::write(system.path(ADVANCED), "1").map_err(|error| match error.kind() {
                std::io::ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
                    "{ADVANCED} is written to by root alone: sudo rkheap map --advanced …"
                ))),
                _ => anyhow!("cannot write to {ADVANCED}: {error}"),
            })?;
        }
        Ok(Advanced { system, was_on })
    }
}

impl Drop for Advanced<'_> {
    fn drop(&mut self) {
        if !self.was_on {
            let _ = std::fs::write(self.system.path(ADVANCED), "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(start: u64, end: u64, pid: u32) -> Held {
        Held {
            start,
            end,
            pid: Some(pid),
            ..Held::default()
        }
    }

    #[test]
    fn cells_tell_whose_they_are() {
        let all = [held(0, 4, 1), held(4, 6, 1), held(8, 9, 2), held(9, 12, 1)];
        let owners = owners(&all);
        let cells: String = (0..4)
            .map(|cell| character(&owners, &all, cell * 4, cell * 4 + 4))
            .collect();
        assert_eq!(cells, "Aa+.");
        let odd = held(1, 2, 9);
        assert_eq!(character(&[], &[odd], 0, 4), '*');
    }

    #[test]
    fn lines_are_few() {
        for size in [1, 4096, 24 << 20, 64 << 20, 3 << 30, u64::MAX] {
            let lines = size.div_ceil(line_bytes(size));
            assert!((1..=16).contains(&lines), "{size}: {lines}");
        }
    }
}
