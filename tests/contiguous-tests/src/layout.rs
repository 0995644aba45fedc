// SPDX-License-Identifier: GPL-2.0

//! What comes of a device tree: which heaps there are, where their memory lies, and what the kernel
//! says of it.

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

/// The heaps of every machine.
const SYSTEM: [&str; 4] = [
    "system",
    "system-dma32",
    "system-uncached",
    "system-uncached-dma32",
];

/// The heaps over the default area. All machines of these tests have that below 4 GiB.
const DEFAULT_AREA: [&str; 5] = [
    "cma",
    "cma-dma32",
    "cma-uncached",
    "cma-uncached-dma32",
    "default_cma_region",
];

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

/// Every heap whose memory is set aside, and where that is.
fn places(tree: &Tree) -> Result<BTreeMap<&'static str, Range>> {
    let mut places: BTreeMap<_, _> = tree.areas.iter().chain(tree.carveouts).copied().collect();
    let default = default_area(tree)?;
    for name in DEFAULT_AREA {
        places.extend(default.map(|range| (name, range)));
    }
    let bound = tree.rockchip.and_then(|area| places.get(area).copied());
    places.extend(bound.or(default).map(|range| (ROCKCHIP, range)));
    Ok(places)
}

/// Whether the tree has more regions than the kernel can have areas.
fn is_full(tree: &Tree) -> bool {
    matches!(tree.default, DefaultArea::None)
}

fn heaps(tree: &Tree) -> Result<()> {
    let found = heap::names()?;
    let mut expected: Vec<_> = SYSTEM.to_vec();
    expected.extend(places(tree)?.keys());
    expected.sort_unstable();
    if is_full(tree) {
        // How many areas the kernel can have is its own affair; what it has are heaps.
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
    let told = memory::meminfo("CmaTotal")?;
    ensure!(told == sum, "CmaTotal is {told}, the areas have {sum}");
    if !is_full(tree) {
        let size = match tree.default {
            DefaultArea::At(range) => range.size,
            DefaultArea::Size(size) => size,
            DefaultArea::None => 0,
        };
        let expected = size + tree.areas.iter().map(|(_, range)| range.size).sum::<u64>();
        ensure!(
            told as u64 == expected,
            "CmaTotal is {told}, expected {expected}"
        );
        ensure!(areas.len() == tree.areas.len() + 1, "areas: {areas:?}");
    }
    for (name, range) in tree.areas {
        let area = areas::find(name)?;
        ensure!(
            area.total as u64 == range.size,
            "{area:?}, expected {range:x?}"
        );
    }
    Ok(())
}

/// The area that a heap takes its memory from, by the name that the kernel has for it.
fn area_of(tree: &Tree, heap: &str) -> Result<Option<String>> {
    if tree.carveouts.iter().any(|(name, _)| *name == heap) {
        return Ok(None);
    }
    let named = if heap == ROCKCHIP {
        tree.rockchip
    } else {
        None
    };
    let named = named.or_else(|| {
        tree.areas
            .iter()
            .map(|(name, _)| *name)
            .find(|name| *name == heap)
    });
    if let Some(name) = named {
        return Ok(Some(name.to_owned()));
    }
    let others: Vec<_> = tree.areas.iter().map(|(name, _)| *name).collect();
    let default = areas::all()?
        .into_iter()
        .find(|area| !others.contains(&area.name.as_str()) && !area.name.starts_with("pool-"));
    Ok(Some(default.context("the default area has no name")?.name))
}

fn ranges(tree: &Tree) -> Result<()> {
    let client = areas::client()?;
    for (name, place) in places(tree)? {
        let area = area_of(tree, name)?;
        let (page, whole) = (page_size(), place.size as usize);
        // The default area's heaps differ in how memory is mapped, not in where it lies: one goes
        // through all sizes.
        let sizes = if DEFAULT_AREA[1..].contains(&name) {
            &[16 * page + 1][..]
        } else {
            &[1, 3 * page, 16 * page + 1, whole / 4, whole / 2]
        };
        for &size in sizes {
            areas::undisturbed(|| range(&client, name, place, area.as_deref(), size))
                .with_context(|| format!("{name}, {size} bytes"))?;
        }
    }
    Ok(())
}

// The heap's area is the only one that changes, by what was allocated, and so does CmaFree. Any
// allocation makes the figure exact, so there is one in hand wherever it is read.
fn range(client: &Client, name: &str, place: Range, area: Option<&str>, size: usize) -> Result<()> {
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
    let range = areas::place_of(client, &buffer)?;
    ensure!(place.contains(&range), "{range:x?} is not in {place:x?}");
    for (old, new) in before.iter().zip(areas::all()?) {
        let here = area == Some(&old.name);
        ensure!(
            old.available == new.available + if here { bytes } else { 0 },
            "{old:?} became {new:?}"
        );
    }
    drop(buffer);
    let _again = heap.allocate(page)?;
    let now = areas::free()?;
    ensure!(
        free == now + taken(page),
        "CmaFree was {free}, is {now} after all but a page was freed"
    );
    Ok(())
}

fn boot_log(tree: &Tree) -> Result<()> {
    let log = areas::boot_log()?;
    for expected in tree.boot_log {
        ensure!(
            log.iter().any(|line| line.contains(expected)),
            "the kernel did not say {expected:?}, but: {:#?}",
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
        "the module said {found:#?}, expected {expected:#?}"
    );
    Ok(())
}

/// The entries of `/proc/iomem` at its first level, with their names.
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

// What the kernel keeps out of is no system memory; areas are.
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
        // 32-bit arm does not list what it keeps out of.
        if cfg!(target_arch = "aarch64") {
            ensure!(
                resources
                    .iter()
                    .any(|(other, name)| other.contains(range) && name == "reserved"),
                "{range:x?} is not told to be reserved: {resources:x?}"
            );
        }
    }
    let areas = tree.areas.iter().map(|(_, range)| *range);
    for range in areas.chain(default_area(tree)?) {
        ensure!(
            ram.iter().any(|(ram, _)| ram.contains(&range)),
            "{range:x?} is no system memory: {resources:x?}"
        );
    }
    if tree.name == "memmap" {
        let range = Range::new(0x5000_0000, 64 << 20);
        ensure!(
            ram.iter().any(|(ram, _)| ram.contains(&range)),
            "memmap= has set memory aside: {resources:x?}"
        );
        diagnose("memmap=64M$0x50000000 changes nothing");
    }
    Ok(())
}

// Loaded again and with every heap used to its end, the module leaves a pattern alone that was put
// where it must not go.
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
    for (name, place) in places(tree)? {
        let heap = Heap::open(name)?;
        // All of it, in four parts: the default area may have users already.
        let mut held = Vec::new();
        while let Ok(buffer) = heap.allocate(place.size as usize / 4) {
            buffer.map()?.fill(Pattern(1), 0);
            held.push(buffer);
        }
        ensure!(held.len() >= 3, "{name} gave only {} quarters", held.len());
    }
    for (mapping, range) in mappings {
        mapping
            .check(Pattern(range.base), 0)
            .with_context(|| format!("{range:x?} was written to"))?;
    }
    Ok(())
}
