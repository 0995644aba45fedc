// SPDX-License-Identifier: GPL-2.0

//! How much a heap has to give, and how much of it one request may have.

use anyhow::{
    Context,
    Result, //
};
use guest_support::{
    memory,
    page_size, //
};
use std::path::Path;

/// Where the kernel tells of each contiguous memory area, by name.
const AREAS: &str = "/sys/kernel/mm/cma";

/// The names of the heaps over the default area.
const DEFAULT_AREA: &[&str] = &[
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    "rk-dma-heap-cma",
];

/// Where the device tree tells of each region that is set aside, by name.
const REGIONS: &str = "/proc/device-tree/reserved-memory";

/// The size of an area, and what of it is not handed out, in bytes.
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

/// The size of a region that the kernel keeps out of, in bytes.
fn carveout(name: &str) -> Result<Option<usize>> {
    let region = Path::new(REGIONS).join(name);
    if !region.join("no-map").exists() {
        return Ok(None);
    }
    // An address and a size, each of two cells.
    let numbers = std::fs::read(region.join("reg"))?;
    let (_, size) = numbers.split_at(numbers.len() / 2);
    let size = u64::from_be_bytes(size.try_into().context("a size of other than two cells")?);
    Ok(Some(size as usize))
}

/// What stands behind a heap.
pub struct Capacity {
    /// All that it has, in bytes.
    pub total: usize,
    /// The largest buffer that it may ever give, in bytes.
    pub largest: usize,
    /// What of it nobody else uses at the moment, in bytes.
    pub unused: usize,
    /// Whether its memory is set aside for it.
    pub set_aside: bool,
}

impl Capacity {
    /// Of a heap by its name, or by the path of its node.
    pub fn of(heap: &str) -> Result<Self> {
        let name = Path::new(heap)
            .file_name()
            .context("a heap without a name")?
            .to_string_lossy()
            .into_owned();
        let set_aside = if DEFAULT_AREA.contains(&name.as_str()) {
            Some((memory::meminfo("CmaTotal")?, memory::meminfo("CmaFree")?))
        } else if let Some(total) = carveout(&name)? {
            Some((total, total))
        } else {
            area(&name)?
        };
        let ram = memory::total()?;
        Ok(match set_aside {
            Some((total, unused)) => Capacity {
                total,
                largest: total,
                unused,
                set_aside: true,
            },
            None => Capacity {
                total: ram,
                largest: ram / 2,
                // What is set aside for others is available to programs, but not to this heap.
                unused: memory::meminfo("MemAvailable")?
                    .saturating_sub(memory::meminfo("CmaFree")?),
                set_aside: false,
            },
        })
    }

    /// A request that the heap can meet, and that takes it some time.
    pub fn large_request(&self) -> usize {
        if self.set_aside {
            self.total / 2
        } else {
            self.total / 6
        }
    }
}
