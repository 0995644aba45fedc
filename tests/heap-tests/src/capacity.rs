// SPDX-License-Identifier: GPL-2.0

//! Total memory of a heap, and the maximum size of one request.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::{
    heaps_file,
    memory,
    page_size, //
};
use std::path::Path;

/// The CMA areas in sysfs, by name.
const AREAS: &str = "/sys/kernel/mm/cma";

/// The names of the heaps of the default area.
const DEFAULT_AREA: &[&str] = &[
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    "reserved",
    "linux,cma",
    "linux,cma-uncached",
    "rk-dma-heap-cma",
];

/// The reserved regions of the device tree, by name.
const REGIONS: &str = "/proc/device-tree/reserved-memory";

/// Returns the heaps that are named after the areas of the kernel, given the names of others.
pub fn named_after_areas(others: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(AREAS).context("the kernel lists no areas")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let uncached = others.iter().any(|other| other == "cma-uncached");
        if name == "linux,cma" && uncached {
            names.push(format!("{name}-uncached"));
        }
        names.push(name);
    }
    ensure!(!names.is_empty(), "the kernel has no areas");
    Ok(names)
}

/// Returns the size and the available memory of an area, in bytes.
fn area(name: &str) -> Result<Option<(usize, usize)>> {
    let area = Path::new(AREAS).join(name);
    if !area.exists() {
        return Ok(None);
    }
    let read = |file: &str| -> Result<usize> {
        let pages: usize = std::fs::read_to_string(area.join(file))?.trim().parse()?;
        Ok(pages * page_size())
    };
    Ok(Some((read("total_pages")?, read("available_pages")?)))
}

/// Returns the size of a no-map region, in bytes.
fn carveout(name: &str) -> Result<Option<usize>> {
    let region = Path::new(REGIONS).join(name);
    if !region.join("no-map").exists() {
        return Ok(None);
    }
    // An address and a size, of two cells each.
    let numbers = std::fs::read(region.join("reg"))?;
    let (_, size) = numbers.split_at(numbers.len() / 2);
    let size = u64::from_be_bytes(
        size.try_into()
            .context("the size does not have two cells")?,
    );
    Ok(Some(size as usize))
}

/// The memory of a heap.
pub struct Capacity {
    /// Total memory, in bytes.
    pub total: usize,
    /// Maximum size of a buffer, in bytes.
    pub largest: usize,
    /// Currently unused memory, in bytes.
    pub unused: usize,
    /// Whether the memory is reserved for heaps.
    pub reserved: bool,
    /// The part of the total that is not of the area, in bytes. Not all of it is contiguous.
    beyond: usize,
}

impl Capacity {
    /// Returns the capacity of a heap, given by its name or the path of its node.
    pub fn of(heap: &str) -> Result<Self> {
        let name = Path::new(heap)
            .file_name()
            .context("a heap without a name")?
            .to_string_lossy()
            .into_owned();
        let reserved = if DEFAULT_AREA.contains(&name.as_str()) {
            Some((memory::meminfo("CmaTotal")?, memory::meminfo("CmaFree")?))
        } else if let Some(total) = carveout(&name)? {
            Some((total, total))
        } else {
            area(&name)?
        };
        let ram = memory::total()?;
        Ok(match reserved {
            Some((total, unused)) => {
                // What it may take from RAM when its area has no place.
                let beyond = heaps_file::size(&name, "left")?.unwrap_or(0);
                Capacity {
                    total: total + beyond,
                    largest: total.max(beyond),
                    unused,
                    reserved: true,
                    beyond,
                }
            }
            None => Capacity {
                total: ram,
                largest: ram / 2,
                // MemAvailable includes free CMA memory, which this heap cannot use.
                unused: memory::meminfo("MemAvailable")?
                    .saturating_sub(memory::meminfo("CmaFree")?),
                reserved: false,
                beyond: 0,
            },
        })
    }

    /// Returns the size of a request that the heap can satisfy and that takes some time.
    pub fn large_request(&self) -> usize {
        if self.reserved {
            match self.total - self.beyond {
                0 => self.beyond / 8,
                area => area / 2,
            }
        } else {
            self.total / 6
        }
    }
}
