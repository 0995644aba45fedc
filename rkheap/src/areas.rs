// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory areas and carveouts: their names, sizes and addresses, and the heaps that
//! allocate from them.

use crate::parse::{
    device_tree,
    kernel_log, //
};
use crate::system::System;
use nix::unistd::{
    sysconf,
    SysconfVar, //
};
use serde::Serialize;

/// The directory of all CMA areas.
pub const SYSFS: &str = "/sys/kernel/mm/cma";

/// The heaps of the module and of the kernel that allocate from the default area.
const DEFAULT_AREA_HEAPS: [&str; 8] = [
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    "reserved",
    "linux,cma",
    "linux,cma-uncached",
];

/// The names of the default area if no device tree node creates it.
const DEFAULT_AREA_NAMES: [&str; 3] = ["reserved", "default_cma_region", "linux,cma"];

/// The name of the Rockchip heap.
const ROCKCHIP_HEAP: &str = "rk-dma-heap-cma";

/// A contiguous memory area or a carveout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub name: String,
    pub is_default: bool,
    pub carveout: bool,
    pub base: Option<u64>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Free memory in bytes, as counted by the kernel.
    pub available: Option<u64>,
}

/// The origin of a heap's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backing {
    /// Pages of all RAM.
    Pages,
    /// Pages below 4 GiB.
    PagesBelow4Gib,
    /// A contiguous memory area.
    Area,
    /// Contiguous ranges of RAM, without an area.
    ContiguousRam,
    /// A reserved region that the kernel does not use itself.
    Carveout,
    #[default]
    Unknown,
}

/// All areas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    pub all: Vec<Area>,
    /// The name of the area that the device tree assigns to the Rockchip heap. `None` stands for
    /// the default area.
    rockchip: Option<String>,
}

impl Areas {
    /// Reads all areas from the device tree, sysfs and the kernel log.
    pub fn read(system: &System) -> Self {
        let tree = device_tree::read(system);
        let cmdline = system.command_line();
        let default_on_cmdline = cmdline
            .split_whitespace()
            .any(|word| word.starts_with("cma="));
        let mut all: Vec<Area> = Vec::new();
        for name in system.names(SYSFS) {
            all.push(Area {
                size: pages(system, &name, "total_pages"),
                available: pages(system, &name, "available_pages"),
                name,
                ..Area::default()
            });
        }
        for region in &tree.regions {
            let carveout = tree.carveouts.contains(&region.name);
            if !carveout && !region.reusable {
                continue;
            }
            let area = match all.iter_mut().find(|area| area.name == region.name) {
                Some(area) => area,
                // If the kernel lists its areas, a region that is not listed is not an area.
                None if !carveout && system.exists(SYSFS) => continue,
                None => {
                    all.push(Area {
                        name: region.name.clone(),
                        carveout,
                        ..Area::default()
                    });
                    let Some(area) = all.last_mut() else { continue };
                    area
                }
            };
            area.base = region.base;
            area.size = area.size.or(region.size);
            area.is_default = region.is_default && !default_on_cmdline;
        }
        if !all.iter().any(|area| area.is_default) {
            let default = DEFAULT_AREA_NAMES
                .iter()
                .find_map(|name| all.iter().position(|area| area.name == *name));
            if let Some(area) = default.and_then(|index| all.get_mut(index)) {
                area.is_default = true;
            }
        }
        let mut areas = Areas {
            all,
            rockchip: tree.rockchip,
        };
        areas.read_missing_bases(system);
        areas
    }

    /// Reads again what is free in each area.
    pub fn read_available(&mut self, system: &System) {
        for area in self.all.iter_mut().filter(|area| area.available.is_some()) {
            area.available = pages(system, &area.name, "available_pages").or(area.available);
        }
    }

    /// Reads the bases of areas without an address in the device tree from the kernel log.
    fn read_missing_bases(&mut self, system: &System) {
        if self.all.iter().all(|area| area.base.is_some()) {
            return;
        }
        let bases = kernel_log::parse(&system.kernel_log());
        for area in self.all.iter_mut().filter(|area| area.base.is_none()) {
            let node = bases.nodes.iter().find(|(name, ..)| *name == area.name);
            area.base = match node {
                Some((_, base, _)) => Some(*base),
                None if area.is_default => bases.default,
                None => None,
            };
        }
    }

    /// Returns the area that a heap allocates from.
    pub fn of_heap(&self, heap: &str) -> Option<&Area> {
        let by_name = |name: &str| self.all.iter().find(|area| area.name == name);
        let default = || self.all.iter().find(|area| area.is_default);
        if heap == ROCKCHIP_HEAP {
            self.rockchip.as_deref().and_then(by_name).or_else(default)
        } else if DEFAULT_AREA_HEAPS.contains(&heap) {
            by_name(heap).or_else(default)
        } else {
            by_name(heap)
        }
    }

    /// Returns the origin of a heap's memory.
    pub fn backing(&self, heap: &str) -> Backing {
        match self.of_heap(heap) {
            Some(area) if area.carveout => Backing::Carveout,
            Some(_) => Backing::Area,
            None => match heap {
                "system" | "system-uncached" => Backing::Pages,
                "system-dma32" | "system-uncached-dma32" => Backing::PagesBelow4Gib,
                _ => Backing::Unknown,
            },
        }
    }
}

/// Reads a number of pages of a CMA area. Returns bytes.
fn pages(system: &System, area: &str, file: &str) -> Option<u64> {
    let pages = system.number(&format!("{SYSFS}/{area}/{file}"))?;
    pages.checked_mul(page_size())
}

/// Returns the page size of this machine in bytes; 4096 if it is unknown.
pub fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}
