// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory areas and carveouts: what there is, where it lies, and which heap takes its
//! memory from which.

use crate::parse::{
    device_tree,
    kernel_log, //
};
use crate::system::System;
use nix::errno::Errno;
use nix::unistd::{
    sysconf,
    SysconfVar, //
};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{
    Read,
    Write, //
};
use std::os::unix::fs::OpenOptionsExt;

const SYSFS: &str = "/sys/kernel/mm/cma";
const KERNEL_LOG: &str = "/dev/kmsg";

/// Heaps over the default area, the module's and the kernel's own.
const OVER_DEFAULT: [&str; 7] = [
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    "reserved",
    "linux,cma",
];

/// What the kernel calls the default area where no node makes it.
const DEFAULT_NAMES: [&str; 3] = ["reserved", "default_cma_region", "linux,cma"];

pub const ROCKCHIP: &str = "rk-dma-heap-cma";

/// An area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub name: String,
    pub is_default: bool,
    pub carveout: bool,
    pub base: Option<u64>,
    pub size: Option<u64>,
    /// What nobody has allocated, in bytes, as the kernel counts.
    pub available: Option<u64>,
}

/// Where a heap's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From anywhere.
    Pages,
    /// From anywhere below 4 GiB.
    PagesBelow4Gib,
    /// From a contiguous memory area.
    Area,
    /// From a region that the kernel keeps out of.
    Carveout,
    Unknown,
}

/// All areas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    pub all: Vec<Area>,
    /// The name of the area that the Rockchip heap is bound to, where it is not the default one.
    rockchip: Option<String>,
}

impl Areas {
    /// Looks at all that tells of areas.
    pub fn read(system: &System) -> Self {
        let tree = device_tree::read(system);
        let arguments = system.text("/proc/cmdline").unwrap_or_default();
        let argument = arguments
            .split_whitespace()
            .any(|word| word.starts_with("cma="));
        let page = page_size();
        let mut all: Vec<Area> = Vec::new();
        for name in system.names(SYSFS) {
            let pages = |what: &str| {
                let pages = system.number(&format!("{SYSFS}/{name}/{what}"))?;
                pages.checked_mul(page)
            };
            all.push(Area {
                size: pages("total_pages"),
                available: pages("available_pages"),
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
                // Where the kernel counts areas, one that it does not count is none.
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
            area.is_default = region.is_default && !argument;
        }
        if !all.iter().any(|area| area.is_default) {
            let default = DEFAULT_NAMES
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
        areas.find_places(system);
        areas
    }

    /// Where those lie that have no address in the device tree.
    fn find_places(&mut self, system: &System) {
        if self.all.iter().all(|area| area.base.is_some()) {
            return;
        }
        let places = kernel_log::parse(&read_log(system));
        for area in self.all.iter_mut().filter(|area| area.base.is_none()) {
            let node = places.nodes.iter().find(|(name, ..)| *name == area.name);
            area.base = match node {
                Some((_, base, _)) => Some(*base),
                None if area.is_default => places.default,
                None => None,
            };
        }
    }

    /// The area that this heap's memory comes from.
    pub fn of_heap(&self, heap: &str) -> Option<&Area> {
        let by_name = |name: &str| self.all.iter().find(|area| area.name == name);
        let default = || self.all.iter().find(|area| area.is_default);
        if heap == ROCKCHIP {
            self.rockchip.as_deref().and_then(by_name).or_else(default)
        } else if OVER_DEFAULT.contains(&heap) {
            by_name(heap).or_else(default)
        } else {
            by_name(heap)
        }
    }

    /// Where this heap's memory comes from.
    pub fn kind(&self, heap: &str) -> Kind {
        match self.of_heap(heap) {
            Some(area) if area.carveout => Kind::Carveout,
            Some(_) => Kind::Area,
            None => match heap {
                "system" | "system-uncached" => Kind::Pages,
                "system-dma32" | "system-uncached-dma32" => Kind::PagesBelow4Gib,
                _ => Kind::Unknown,
            },
        }
    }
}

/// The page size of this machine.
pub fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// The kernel's log, from its beginning; empty where this user may not read it.
fn read_log(system: &System) -> String {
    let mut log = Vec::new();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(system.path(KERNEL_LOG));
    let Ok(mut file) = opened else {
        return String::new();
    };
    // A read takes one line of the device, or any piece of a file.
    let mut record = vec![0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(read) => {
                // Writing to a vector never fails.
                let _ = log.write_all(record.get(..read).unwrap_or_default());
            }
            // What was next has been overwritten meanwhile; the one after it comes now.
            Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&log).into_owned()
}
