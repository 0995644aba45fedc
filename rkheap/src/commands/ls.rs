// SPDX-License-Identifier: GPL-2.0

//! `rkheap ls`

use crate::areas::{
    Areas,
    Kind, //
};
use crate::buffers;
use crate::exit::{
    Missing,
    Status, //
};
use crate::heaps::{
    self,
    Heap, //
};
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

#[derive(Serialize)]
struct Listing<'a> {
    heaps: &'a [Heap],
    remarks: &'a [String],
}

pub fn run(system: &System, output: Output) -> Result<Status> {
    let areas = Areas::read(system);
    let ranges = Ranges::read(system);
    let heaps = heaps::all(system, &areas, &ranges);
    if heaps.is_empty() {
        return Err(Missing(format!("no heap in /dev/dma_heap; {}", buffers::LOAD_IT)).into());
    }
    let mut remarks = ranges.survey.remarks.clone();
    if ranges.hidden {
        remarks.push(
            "addresses are for root alone, so largest free ranges are not known; sudo shows them"
                .to_owned(),
        );
    }
    if output.json {
        output.value(&Listing {
            heaps: &heaps,
            remarks: &remarks,
        })?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[
        ("HEAP", Align::Left),
        ("BACKING", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Right),
        ("POOLED", Align::Right),
        ("FREE", Align::Right),
        ("LARGEST FREE", Align::Right),
    ]);
    for heap in &heaps {
        let size = |size: Option<u64>| size.map_or("-".to_owned(), text::size);
        let at_most = if heap.largest_free_at_most { "<= " } else { "" };
        table.row(vec![
            text::shown(&heap.heap),
            backing(heap),
            size(heap.size),
            size(heap.used),
            size(heap.pooled),
            size(heap.free),
            format!("{at_most}{}", size(heap.largest_free)),
        ]);
    }
    let mut lines = table.lines("");
    if let Some(heading) = lines.first_mut() {
        *heading = output.bold(heading);
    }
    output.lines(&lines)?;
    output.remarks(&remarks);
    Ok(Status::Done)
}

/// What backs a heap, in words.
pub fn backing(heap: &Heap) -> String {
    let area = heap.area.as_deref().map(text::shown).unwrap_or_default();
    match heap.backing {
        Kind::Pages => "RAM".to_owned(),
        Kind::PagesBelow4Gib => "RAM below 4 GiB".to_owned(),
        Kind::Area if heap.default_area => format!("area {area} (default)"),
        Kind::Area => format!("area {area}"),
        Kind::Carveout => format!("carveout {area}"),
        Kind::Unknown => "?".to_owned(),
    }
}
