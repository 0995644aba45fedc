// SPDX-License-Identifier: GPL-2.0

//! The heaps: their backing, their usage, and their device nodes.

use crate::areas::{
    Areas,
    Backing, //
};
use crate::exit::Missing;
use crate::module;
use crate::parse::heaps_file::{
    self,
    HeapStats, //
};
use crate::ranges::Ranges;
use crate::system::System;
use crate::text;
use serde::Serialize;

/// The folders with the device nodes of heaps.
pub const FOLDERS: [&str; 2] = ["/dev/dma_heap", "/dev/rk_dma_heap"];

/// The devices of all heaps of the kernel or of the module, whether or not they have nodes.
pub const CLASS: &str = "/sys/class/dma_heap";

/// A heap. Sizes are in bytes, and unknown values are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heap {
    pub heap: String,
    pub backing: Backing,
    /// The name of the area or the carveout.
    pub area: Option<String>,
    /// Whether `area` is the default area.
    pub default_area: bool,
    /// Size of the area or of RAM.
    pub size: Option<u64>,
    /// Size of all allocations of this heap.
    pub used: Option<u64>,
    /// Number of dma-bufs.
    pub buffers: Option<u64>,
    /// Number of page arrays that drivers allocated.
    pub page_arrays: Option<u64>,
    /// Size of the page pool, including its backlog.
    pub pooled: Option<u64>,
    /// The part of `used` that is RAM outside of the area.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond: Option<u64>,
    /// What the heap may still take from RAM when its area has no place, up to the module's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond_left: Option<u64>,
    /// What it could take from RAM at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub could_take_ram: Option<u64>,
    /// What it could give at present: what is free in its area, and what it could take from RAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub could_give: Option<u64>,
    /// Free memory of the area.
    pub free: Option<u64>,
    /// Size of the largest free range of the area.
    pub largest_free: Option<u64>,
    /// Whether `largest_free` is an upper bound, because the location of some allocations is
    /// unknown.
    pub largest_free_at_most: bool,
    /// Whether this user may open the heap's node. `None` if it has none: only drivers use it.
    pub may_use: Option<bool>,
}

/// Returns all heaps, sorted by name.
pub fn all(system: &System, areas: &Areas, ranges: &Ranges) -> Vec<Heap> {
    let stats = stats(system);
    names(system, &stats)
        .into_iter()
        .map(|name| {
            let own = stats.iter().find(|stats| stats.heap == name);
            heap(system, areas, ranges, own, name)
        })
        .collect()
}

/// Returns what the module counts of each of its heaps. Returns nothing if it is not loaded.
pub fn stats(system: &System) -> Vec<HeapStats> {
    let text = system.text(heaps_file::PATH).unwrap_or_default();
    heaps_file::parse(&text).items
}

/// Returns the names of all heaps with a device node or statistics.
fn names(system: &System, stats: &[HeapStats]) -> Vec<String> {
    let nodes = FOLDERS.iter().flat_map(|folder| system.names(folder));
    let mut names: Vec<String> = nodes
        .chain(stats.iter().map(|stats| stats.heap.clone()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn heap(
    system: &System,
    areas: &Areas,
    ranges: &Ranges,
    own: Option<&HeapStats>,
    name: String,
) -> Heap {
    let uses_ram = own.is_some_and(|own| {
        [own.left, own.beyond, own.spare]
            .iter()
            .any(|bytes| *bytes > Some(0))
    });
    let ram_stats = own.filter(|_| uses_ram);
    let backing = match areas.backing(&name) {
        Backing::Unknown if uses_ram => Backing::ContiguousRam,
        backing => backing,
    };
    let area = areas.of_heap(&name);
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
    // The kernel does not publish the amount of RAM below 4 GiB.
    let ram = (backing == Backing::Pages)
        .then(|| memory_info(system, "MemTotal:"))
        .flatten();
    let used = own
        .map(|own| own.allocated)
        .or(counted.map(|counted| counted.0));
    // A carveout has only one heap.
    let free_of_carveout = || {
        let area = area.filter(|area| area.carveout)?;
        area.size?.checked_sub(used?)
    };
    let free = area
        .and_then(|area| area.available)
        .or_else(free_of_carveout);
    let could_take_ram = ram_stats.and_then(|own| Some(own.left?.min(own.spare?)));
    let could_give = could_take_ram.map(|ram| ram.saturating_add(free.unwrap_or(0)));
    Heap {
        backing,
        area: area.map(|area| area.name.clone()),
        default_area: area.is_some_and(|area| area.is_default),
        size: area.map_or(ram, |area| area.size),
        used,
        buffers: own
            .map(|own| own.buffers)
            .or(counted.map(|counted| counted.1)),
        page_arrays: own.map(|own| own.arrays),
        pooled: own.map(|own| own.pooled),
        beyond: ram_stats.and_then(|own| own.beyond),
        beyond_left: ram_stats.and_then(|own| own.left),
        could_take_ram,
        could_give,
        free,
        largest_free: largest.map(|(size, _)| size),
        largest_free_at_most: largest.is_some_and(|(_, at_most)| at_most),
        may_use: node_of(system, &name).map(|node| system.may_read(&node)),
        heap: name,
    }
}

/// Returns the value of a line of `/proc/meminfo` in bytes. `field` ends with a colon.
pub fn memory_info(system: &System, field: &str) -> Option<u64> {
    let text = system.text("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the path of a heap's device node. Fails with [`Missing`] if the heap does not exist.
pub fn node(system: &System, name: &str) -> Result<String, Missing> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Missing(format!(
            "{} is not a heap name: use the name of a node in /dev/dma_heap",
            text::escaped(name)
        )));
    }
    node_of(system, name).ok_or_else(|| no_heap(system, name))
}

/// Returns the path of a heap's device node, if there is one.
pub fn node_of(system: &System, name: &str) -> Option<String> {
    let mut paths = FOLDERS.iter().map(|folder| format!("{folder}/{name}"));
    paths.find(|path| system.exists(path))
}

/// Returns the error for a heap that does not exist.
fn no_heap(system: &System, name: &str) -> Missing {
    let heaps = names(system, &[]);
    let name = text::escaped(name);
    Missing(if heaps.is_empty() {
        format!(
            "heap {name} does not exist, because /dev/dma_heap has no heaps: {}",
            module::LOAD_HINT
        )
    } else {
        format!(
            "heap {name} does not exist: use one of {}",
            heaps.join(", ")
        )
    })
}
