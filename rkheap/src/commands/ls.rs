// SPDX-License-Identifier: GPL-2.0

//! `rkheap ls`: the table of heaps.

mod prometheus;

use crate::areas::{
    Areas,
    Backing, //
};
use crate::arguments::Format;
use crate::exit::{
    Missing,
    Status, //
};
use crate::heaps::{
    self,
    Heap, //
};
use crate::module;
use crate::output::Output;
use crate::ranges::Ranges;
use crate::system::System;
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::Result;
use serde::Serialize;

/// The JSON output.
#[derive(Serialize)]
struct Listing<'a> {
    heaps: &'a [Heap],
    remarks: &'a [String],
}

/// Runs the command. Fails with [`Missing`] if there are no heaps.
pub fn run(system: &System, output: Output, format: Format) -> Result<Status> {
    let areas = Areas::read(system);
    let ranges = Ranges::read(system);
    let heaps = heaps::all(system, &areas, &ranges);
    if heaps.is_empty() {
        return Err(Missing(format!("/dev/dma_heap has no heaps: {}", module::LOAD_HINT)).into());
    }
    let mut remarks = ranges.survey.remarks.clone();
    if ranges.hidden {
        remarks.push(
            "addresses are readable by root only, so the largest free ranges are unknown: use sudo"
                .to_owned(),
        );
    }
    if output.json {
        output.print_json(&Listing {
            heaps: &heaps,
            remarks: &remarks,
        })?;
        return Ok(Status::Done);
    }
    if format == Format::Prometheus {
        output.print_text(&prometheus::text(&heaps))?;
        output.print_remarks(&remarks);
        return Ok(Status::Done);
    }
    // The module states it, if it is loaded.
    let shows_ram = heaps.iter().any(|heap| heap.could_take_ram.is_some());
    let mut columns = vec![
        ("HEAP", Align::Left),
        ("BACKING", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Right),
        ("POOLED", Align::Right),
        ("FREE", Align::Right),
        ("LARGEST FREE", Align::Right),
    ];
    if shows_ram {
        columns.extend([
            ("IN RAM", Align::Right),
            ("LEFT IN RAM", Align::Right),
            ("COULD GIVE", Align::Right),
        ]);
    }
    let mut table = Table::new(&columns);
    for heap in &heaps {
        let size = |size: Option<u64>| size.map_or("-".to_owned(), text::size);
        let at_most = if heap.largest_free_at_most { "<= " } else { "" };
        let mut row = vec![
            text::escaped(&heap.heap),
            backing(heap),
            size(heap.size),
            size(heap.used),
            size(heap.pooled),
            size(heap.free),
            format!("{at_most}{}", size(heap.largest_free)),
        ];
        if shows_ram {
            row.extend([heap.beyond, heap.could_take_ram, heap.could_give].map(size));
        }
        table.add_row(row);
    }
    let mut lines = table.lines("");
    if let Some(heading) = lines.first_mut() {
        *heading = output.bold(heading);
    }
    output.print_lines(&lines)?;
    output.print_remarks(&remarks);
    Ok(Status::Done)
}

/// Describes the backing of a heap.
fn backing(heap: &Heap) -> String {
    let area = heap.area.as_deref().map(text::escaped).unwrap_or_default();
    match heap.backing {
        Backing::Pages => "RAM".to_owned(),
        Backing::PagesBelow4Gib => "RAM below 4 GiB".to_owned(),
        Backing::Area if heap.default_area => format!("area {area} (default)"),
        Backing::Area => format!("area {area}"),
        Backing::ContiguousRam => "RAM, contiguous".to_owned(),
        Backing::Carveout => format!("carveout {area}"),
        Backing::Unknown => "?".to_owned(),
    }
}
