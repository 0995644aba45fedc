// SPDX-License-Identifier: GPL-2.0

//! The heaps: what backs them, and how much of it is in use.

use crate::areas::{
    Areas,
    Kind, //
};
use crate::exit::Missing;
use crate::parse::heaps_file;
use crate::ranges::Ranges;
use crate::system::System;
use serde::Serialize;

/// Where nodes of heaps lie.
pub const FOLDERS: [&str; 2] = ["/dev/dma_heap", "/dev/rk_dma_heap"];

/// A heap. Sizes are in bytes; what is not known is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heap {
    pub heap: String,
    pub backing: Kind,
    /// The name of the area or region that the memory comes from.
    pub area: Option<String>,
    /// Whether that is the default area.
    pub default_area: bool,
    /// Of the area, or RAM.
    pub size: Option<u64>,
    /// What this heap has handed out.
    pub used: Option<u64>,
    pub buffers: Option<u64>,
    pub page_arrays: Option<u64>,
    /// What it keeps ready.
    pub pooled: Option<u64>,
    /// What nobody has allocated from its area.
    pub free: Option<u64>,
    pub largest_free: Option<u64>,
    /// It may be less: of some memory it is not known where it lies.
    pub largest_free_at_most: bool,
}

/// All heaps, by name.
pub fn all(system: &System, areas: &Areas, ranges: &Ranges) -> Vec<Heap> {
    let figures = system
        .text(heaps_file::PATH)
        .map(|text| heaps_file::parse(&text).items)
        .unwrap_or_default();
    names(system, &figures)
        .into_iter()
        .map(|name| heap(system, areas, ranges, &figures, name))
        .collect()
}

fn names(system: &System, figures: &[heaps_file::Figures]) -> Vec<String> {
    let nodes = FOLDERS.iter().flat_map(|folder| system.names(folder));
    let mut names: Vec<String> = nodes
        .chain(figures.iter().map(|figures| figures.heap.clone()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn heap(
    system: &System,
    areas: &Areas,
    ranges: &Ranges,
    figures: &[heaps_file::Figures],
    name: String,
) -> Heap {
    let kind = areas.kind(&name);
    let area = areas.of_heap(&name);
    let own = figures.iter().find(|figures| figures.heap == name);
    let survey = &ranges.survey;
    let exported = || {
        survey
            .buffers
            .iter()
            .filter(|buffer| buffer.exporter == name)
    };
    let counted = survey.complete.then(|| {
        let used = exported().fold(0u64, |sum, buffer| sum.saturating_add(buffer.size));
        (used, exported().count() as u64)
    });
    let largest = area.and_then(|area| ranges.of_area(areas, area).largest_free(area));
    // Of RAM below 4 GiB the kernel tells no figure.
    let ram = (kind == Kind::Pages).then(|| memory(system)).flatten();
    let used = own
        .map(|own| own.allocated)
        .or(counted.map(|counted| counted.0));
    // A carveout is its heap's alone.
    let rest = || {
        let area = area.filter(|area| area.carveout)?;
        area.size?.checked_sub(used?)
    };
    Heap {
        backing: kind,
        area: area.map(|area| area.name.clone()),
        default_area: area.is_some_and(|area| area.is_default),
        size: area.map_or(ram, |area| area.size),
        used,
        buffers: own
            .map(|own| own.buffers)
            .or(counted.map(|counted| counted.1)),
        page_arrays: own.map(|own| own.arrays),
        pooled: own.map(|own| own.pooled),
        free: area.and_then(|area| area.available).or_else(rest),
        largest_free: largest.map(|(size, _)| size),
        largest_free_at_most: largest.is_some_and(|(_, at_most)| at_most),
        heap: name,
    }
}

/// All memory.
fn memory(system: &System) -> Option<u64> {
    let text = system.text("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Where a heap's node is.
pub fn node(system: &System, name: &str) -> Result<std::path::PathBuf, Missing> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Missing(format!(
            "there is no heap {}: a heap's name is that of its node",
            crate::text::shown(name)
        )));
    }
    let paths = FOLDERS.iter().map(|folder| format!("{folder}/{name}"));
    match paths.into_iter().find(|path| system.exists(path)) {
        Some(path) => Ok(system.path(&path)),
        None => Err(no_heap(system, name)),
    }
}

/// Says that there is no such heap, and which there are.
pub fn no_heap(system: &System, name: &str) -> Missing {
    let there = names(system, &[]);
    let name = crate::text::shown(name);
    Missing(if there.is_empty() {
        format!(
            "there is no heap {name}, nor any other in /dev/dma_heap; {}",
            crate::buffers::LOAD_IT
        )
    } else {
        format!("there is no heap {name}; there are {}", there.join(", "))
    })
}
