// SPDX-License-Identifier: GPL-2.0

//! `rkheap ls`: the areas and their heaps.

mod prometheus;
mod tables;

use crate::access;
use crate::area_use::{
    self,
    AreaUse, //
};
use crate::areas::Areas;
use crate::arguments::{
    Format,
    Ls, //
};
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
use crate::text;
use anyhow::Result;
use serde::Serialize;

/// The JSON output.
#[derive(Serialize)]
struct Listing<'a> {
    heaps: &'a [Heap],
    areas: &'a [AreaUse],
    remarks: &'a [String],
}

/// Runs the command. Fails with [`Missing`] if there are no heaps.
pub fn run(system: &System, output: Output, options: &Ls) -> Result<Status> {
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
    remarks.extend(denied(system, &heaps));
    let areas = area_use::of_heaps(&heaps);
    if output.json {
        output.print_json(&Listing {
            heaps: &heaps,
            areas: &areas,
            remarks: &remarks,
        })?;
        return Ok(Status::Done);
    }
    if options.format == Format::Prometheus {
        output.print_text(&prometheus::text(&heaps))?;
        output.print_remarks(&remarks);
        return Ok(Status::Done);
    }
    output.print_lines(&match options.heaps {
        true => tables::heaps(output, &heaps),
        false => tables::areas(output, &areas),
    })?;
    output.print_remarks(&remarks);
    Ok(Status::Done)
}

/// Says how this user gets access to heaps, if it lacks access to some.
fn denied(system: &System, heaps: &[Heap]) -> Option<String> {
    let denied = heaps.iter().filter(|heap| heap.may_use == Some(false));
    let count = denied.clone().count();
    let node = denied
        .into_iter()
        .find_map(|heap| heaps::node_of(system, &heap.heap))?;
    Some(format!(
        "permission denied for {}: {}",
        text::plural(count, "heap"),
        access::cure(system, &node, access::HEAP_RULE)
    ))
}
