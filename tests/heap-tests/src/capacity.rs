// SPDX-License-Identifier: GPL-2.0

//! How much a heap has to give, and how much of it one request may have.

use anyhow::{Context, Result};
use guest_support::memory;
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
        let area = Path::new(AREAS).join(&name);
        let contiguous = if DEFAULT_AREA.contains(&name.as_str()) {
            Some(memory::meminfo("CmaTotal")?)
        } else if area.exists() {
            let pages: usize = std::fs::read_to_string(area.join("total_pages"))?
                .trim()
                .parse()?;
            Some(pages * guest_support::page_size())
        } else {
            None
        };
        let ram = memory::total()?;
        Ok(match contiguous {
            Some(total) => Capacity {
                total,
                largest: total,
                unused: memory::meminfo("CmaFree")?,
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
