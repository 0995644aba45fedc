// SPDX-License-Identifier: GPL-2.0

//! The result of a device tree: the heaps, the ranges of their memory, and the kernel's messages.

use crate::areas::{
    self,
    Range, //
};
use crate::trees::{
    DefaultArea,
    Tree, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::pattern::Pattern;
use guest_support::{
    memory,
    page_size, //
};
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The heaps of all machines.
const SYSTEM: [&str; 4] = [
    "system",
    "system-dma32",
    "system-uncached",
    "system-uncached-dma32",
];

/// The heaps of the default area, which is below 4 GiB on all machines of these tests. There is
/// also one of the area's own name.
const DEFAULT_AREA: [&str; 5] = [
    "cma",
    "cma-dma32",
    "cma-uncached",
    "cma-uncached-dma32",
    "default_cma_region",
];

/// The name of an area that has a second heap.
const COMMON_AREA: &str = "linux,cma";
const COMMON_AREA_UNCACHED: &str = "linux,cma-uncached";

const ROCKCHIP: &str = "rk-dma-heap-cma";

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("tree/heaps", || heaps(tree));
    tests.add("tree/totals", || totals(tree));
    tests.add("tree/ranges", || ranges(tree));
    tests.add("tree/boot-log", || boot_log(tree));
    tests.add("tree/module-log", || module_log(tree));
    tests.add("tree/iomem", || iomem(tree));
    if !tree.untouched.is_empty() {
        tests.add("tree/untouched", || untouched(tree));
    }
}

fn default_area(tree: &Tree) -> Result<Option<Range>> {
    match tree.default {
        DefaultArea::At(range) => Ok(Some(range)),
        DefaultArea::Size(_) => areas::default_area().map(Some),
        DefaultArea::None => Ok(None),
    }
}

/// Returns the heaps that are named after the default area.
fn own_names(tree: &Tree) -> impl Iterator<Item = &'static str> {
    let uncached = (tree.default_name == COMMON_AREA).then_some(COMMON_AREA_UNCACHED);
    [tree.default_name].into_iter().chain(uncached)
}

/// Returns all heaps with reserved memory, and its range.
fn reserved_ranges(tree: &Tree) -> Result<BTreeMap<&'static str, Range>> {
    let mut reserved_ranges: BTreeMap<_, _> = tree
        .areas()?
        .into_iter()
        .chain(tree.carveouts.iter().copied())
        .collect();
    let default = default_area(tree)?;
    for name in DEFAULT_AREA.iter().copied().chain(own_names(tree)) {
        reserved_ranges.extend(default.map(|range| (name, range)));
    }
    let bound = tree
        .rockchip
        .and_then(|area| reserved_ranges.get(area).copied());
    reserved_ranges.extend(bound.or(default).map(|range| (ROCKCHIP, range)));
    Ok(reserved_ranges)
}

/// Returns whether the tree has more regions than the kernel supports areas.
fn is_full(tree: &Tree) -> bool {
    matches!(tree.default, DefaultArea::None)
}

fn heaps(tree: &Tree) -> Result<()> {
    let found = heap::names()?;
    let mut expected: Vec<_> = SYSTEM.to_vec();
    expected.extend(reserved_ranges(tree)?.keys());
    expected.extend(tree.empty_carveouts);
    expected.sort_unstable();
    if is_full(tree) {
        // The maximum number of areas is up to the kernel. Each existing area must be a heap.
        let pools = found
            .iter()
            .filter(|name| name.starts_with("pool-"))
            .count();
        diagnose(&format!("{pools} regions are areas"));
        ensure!(pools > 0 && pools < 25, "{pools} heaps");
        let areas = areas::all()?;
        let known = areas.iter().filter(|area| area.name.starts_with("pool-"));
        ensure!(known.count() == pools, "not every area is a heap");
        for name in &expected {
            ensure!(found.iter().any(|other| other == name), "{name} is missing");
        }
        return Ok(());
    }
    ensure!(found == expected, "found {found:?}, expected {expected:?}");
    let nodes: Vec<_> = std::fs::read_dir("/dev/rk_dma_heap")?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    ensure!(nodes == [ROCKCHIP], "/dev/rk_dma_heap holds {nodes:?}");
    Ok(())
}

fn totals(tree: &Tree) -> Result<()> {
    let areas = areas::all()?;
    let sum: usize = areas.iter().map(|area| area.total).sum();
    let total = memory::meminfo("CmaTotal")?;
    ensure!(total == sum, "CmaTotal is {total}, the areas have {sum}");
    if !is_full(tree) {
        let own: u64 = tree.areas()?.iter().map(|(_, range)| range.size).sum();
        let expected = tree.default_size()? + own;
        ensure!(
            total as u64 == expected,
            "CmaTotal is {total}, expected {expected}"
        );
        ensure!(areas.len() == tree.areas()?.len() + 1, "areas: {areas:?}");
    }
    for (name, range) in tree.areas()? {
        let area = areas::find(name)?;
        ensure!(
            area.total as u64 == range.size,
            "{area:?}, expected {range:x?}"
        );
    }
    Ok(())
}

/// Returns the kernel's name of a heap's area; `None` for a carveout.
fn area_of(tree: &Tree, heap: &str) -> Result<Option<String>> {
    if tree.carveouts.iter().any(|(name, _)| *name == heap) {
        return Ok(None);
    }
    let named = if heap == ROCKCHIP {
        tree.rockchip
    } else {
        None
    };
    let others: Vec<_> = tree.areas()?.iter().map(|(name, _)| *name).collect();
    let named = named.or_else(|| others.iter().copied().find(|name| *name == heap));
    if let Some(name) = named {
        return Ok(Some(name.to_owned()));
    }
    let default = areas::all()?
        .into_iter()
        .find(|area| !others.contains(&area.name.as_str()) && !area.name.starts_with("pool-"));
    Ok(Some(default.context("the default area has no name")?.name))
}

fn ranges(tree: &Tree) -> Result<()> {
    let client = areas::client()?;
    for (name, reserved) in reserved_ranges(tree)? {
        let area = area_of(tree, name)?;
        let (page, whole) = (page_size(), reserved.size as usize);
        // The heaps of the default area differ only in their mappings, so one of them is tested
        // with all sizes.
        let of_default = DEFAULT_AREA.iter().copied().chain(own_names(tree));
        let sizes = if name != DEFAULT_AREA[0] && of_default.into_iter().any(|own| own == name) {
            &[16 * page + 1][..]
        } else {
            &[1, 3 * page, 16 * page + 1, whole / 4, whole / 2]
        };
        for &size in sizes {
            areas::retry(|| range(&client, name, reserved, area.as_deref(), size))
                .with_context(|| format!("{name}, {size} bytes"))?;
        }
    }
    Ok(())
}

// Only the heap's area changes, by the allocated size, and CmaFree by the same. An allocation makes
// CmaFree exact, so one precedes each read.
fn range(
    client: &Client,
    name: &str,
    reserved: Range,
    area: Option<&str>,
    size: usize,
) -> Result<()> {
    let page = page_size();
    let bytes = size.next_multiple_of(page);
    let taken = |bytes: usize| if area.is_some() { bytes } else { 0 };
    let heap = Heap::open(name)?;
    let _first = heap.allocate(page)?;
    let free = areas::free()?;
    let before = areas::all()?;
    let buffer = heap.allocate(size)?;
    let now = areas::free()?;
    ensure!(free == now + taken(bytes), "CmaFree was {free}, is {now}");
    let range = areas::range_of(client, &buffer)?;
    ensure!(
        reserved.contains(&range),
        "{range:x?} is not in {reserved:x?}"
    );
    for (old, new) in before.iter().zip(areas::all()?) {
        let is_own = area == Some(&old.name);
        ensure!(
            old.available == new.available + if is_own { bytes } else { 0 },
            "{old:?} became {new:?}"
        );
    }
    drop(buffer);
    let _again = heap.allocate(page)?;
    let now = areas::free()?;
    ensure!(
        free == now + taken(page),
        "CmaFree was {free}, is {now} after freeing all but one page"
    );
    Ok(())
}

fn boot_log(tree: &Tree) -> Result<()> {
    let log = areas::boot_log()?;
    for expected in tree.boot_log {
        ensure!(
            log.iter().any(|line| line.contains(expected)),
            "the kernel's log has no {expected:?}, but: {:#?}",
            log.iter()
                .filter(|line| line.to_lowercase().contains("cma") || line.contains("eserved mem"))
                .collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn module_log(tree: &Tree) -> Result<()> {
    let mut found = areas::module_log()?;
    found.sort();
    let mut expected: Vec<_> = tree.module_log.iter().map(ToString::to_string).collect();
    expected.sort();
    ensure!(
        found == expected,
        "the module's log is {found:#?}, expected {expected:#?}"
    );
    Ok(())
}

/// Returns the top-level entries of `/proc/iomem` with their names.
fn resources() -> Result<Vec<(Range, String)>> {
    let text = std::fs::read_to_string("/proc/iomem")?;
    let mut resources = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        let (range, name) = line.split_once(" : ").context("a line without a name")?;
        let (first, last) = range.split_once('-').context("a line without a range")?;
        let first = u64::from_str_radix(first, 16)?;
        let size = u64::from_str_radix(last, 16)? + 1 - first;
        resources.push((Range::new(first, size), name.to_owned()));
    }
    Ok(resources)
}

// No-map regions are not system memory; areas are.
fn iomem(tree: &Tree) -> Result<()> {
    let resources = resources()?;
    let ram: Vec<_> = resources
        .iter()
        .filter(|(_, name)| name == "System RAM")
        .collect();
    ensure!(!ram.is_empty(), "no system memory: {resources:x?}");
    let carveouts = tree.carveouts.iter().map(|(_, range)| range);
    for range in carveouts.chain(tree.untouched) {
        ensure!(
            !ram.iter()
                .any(|(ram, _)| ram.base < range.end() && range.base < ram.end()),
            "{range:x?} is system memory: {resources:x?}"
        );
        // 32-bit Arm does not list no-map regions.
        if cfg!(target_arch = "aarch64") && tree.carveouts_listed {
            ensure!(
                resources
                    .iter()
                    .any(|(other, name)| other.contains(range) && name == "reserved"),
                "{range:x?} is not listed as reserved: {resources:x?}"
            );
        }
    }
    let areas = tree.areas()?.into_iter().map(|(_, range)| range);
    for range in areas.chain(default_area(tree)?) {
        ensure!(
            ram.iter().any(|(ram, _)| ram.contains(&range)),
            "{range:x?} is not system memory: {resources:x?}"
        );
    }
    if tree.name == "memmap" {
        let range = Range::new(0x5000_0000, 64 << 20);
        ensure!(
            ram.iter().any(|(ram, _)| ram.contains(&range)),
            "memmap= has reserved memory: {resources:x?}"
        );
        diagnose("memmap=64M$0x50000000 changes nothing");
    }
    Ok(())
}

// A pattern in memory that the module must not use stays intact while the module is reloaded and
// every heap is filled.
fn untouched(tree: &Tree) -> Result<()> {
    let memory = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_SYNC)
        .open("/dev/mem")
        .context("cannot open /dev/mem")?;
    let mut mappings = Vec::new();
    for range in tree.untouched {
        let mapping = Mapping::of_fd(
            memory.as_fd(),
            range.base,
            range.size as usize,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
        .with_context(|| format!("cannot map {range:x?}"))?;
        mapping.fill(Pattern(range.base), 0);
        mappings.push((mapping, range));
    }
    client::unload().context("the test client is in use")?;
    kernel_module::unload("rk_dma_heap").context("the module is in use")?;
    kernel_module::load(Path::new("/lib/modules/rk_dma_heap.ko"), "")??;
    for (name, reserved) in reserved_ranges(tree)? {
        let heap = Heap::open(name)?;
        // Allocates all of it, in quarters: the default area may have other users already.
        let mut held = Vec::new();
        while let Ok(buffer) = heap.allocate(reserved.size as usize / 4) {
            buffer.map()?.fill(Pattern(1), 0);
            held.push(buffer);
        }
        ensure!(held.len() >= 3, "{name} has only {} quarters", held.len());
    }
    for (mapping, range) in mappings {
        mapping
            .check(Pattern(range.base), 0)
            .with_context(|| format!("{range:x?} was written to"))?;
    }
    Ok(())
}
