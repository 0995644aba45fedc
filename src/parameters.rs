// SPDX-License-Identifier: GPL-2.0

//! The module parameters, validated once when the module is loaded.

use crate::{
    abstractions::version::parameter,
    decisions::ram_share::{
        pool_pages,
        share, //
    },
    module_parameters as raw, //
};
use kernel::prelude::*;

/// The module parameters, all valid.
pub(crate) struct Parameters {
    max_percent: u8,
    /// Whether cache maintenance of buffers that the CPU has no view of is skipped.
    pub(crate) cache_states: bool,
    contig_max_percent: u8,
    /// How much of the pool of `system` is filled in advance, in MiB.
    pub(crate) pool_prefill_mib: u32,
    /// The size of the reserve of contiguous RAM, in MiB.
    pub(crate) contig_reserve_mib: u32,
    /// Whether `/proc/rk_dmabuf/sgt` maps dma-bufs that are not mapped for any device.
    pub(crate) advanced: bool,
    /// Whether dma-bufs that are exported without a name get a default name.
    pub(crate) default_names: bool,
    /// Whether freed ranges of the contiguous heaps are cached.
    pub(crate) keep_ranges: bool,
    /// Whether dma-bufs of all exporters are recorded.
    pub(crate) track_all: bool,
    /// Whether buffers of the system heaps are charged to memory cgroups.
    pub(crate) mem_accounting: bool,
    pool_max_percent: u8,
    pool_max_mib: u32,
}

impl Parameters {
    /// Reads and validates the module parameters.
    ///
    /// Logs the name of an invalid parameter and fails with `EINVAL`.
    pub(crate) fn read() -> Result<Self> {
        Ok(Self {
            max_percent: percent("max_percent", 1, parameter(raw::max_percent.value()))?,
            cache_states: switch("cache_states", parameter(raw::cache_states.value()))?,
            contig_max_percent: percent(
                "contig_max_percent",
                0,
                parameter(raw::contig_max_percent.value()),
            )?,
            contig_reserve_mib: parameter(raw::contig_reserve_mib.value()),
            advanced: switch("advanced", parameter(raw::advanced.value()))?,
            default_names: switch("default_names", parameter(raw::default_names.value()))?,
            keep_ranges: switch("keep_ranges", parameter(raw::keep_ranges.value()))?,
            track_all: switch("track_all", parameter(raw::track_all.value()))?,
            mem_accounting: switch("mem_accounting", parameter(raw::mem_accounting.value()))?,
            pool_max_percent: percent(
                "pool_max_percent",
                0,
                parameter(raw::pool_max_percent.value()),
            )?,
            pool_prefill_mib: parameter(raw::pool_prefill_mib.value()),
            pool_max_mib: parameter(raw::pool_max_mib.value()),
        })
    }

    /// Returns the size limit for buffers of the system heaps on a machine with `ram` pages, in
    /// pages.
    pub(crate) fn buffer_pages(&self, ram: usize) -> usize {
        share(ram, self.max_percent)
    }

    /// Returns the share of RAM that ranges of all contiguous heaps may have, in percent. With 0,
    /// only areas are used.
    pub(crate) fn contig_max_percent(&self) -> u8 {
        self.contig_max_percent
    }

    /// Returns the limit for prepared pages in all page pools on a machine with `ram` pages, in
    /// pages.
    pub(crate) fn pool_pages(&self, ram: usize) -> usize {
        pool_pages(ram, self.pool_max_percent, self.pool_max_mib)
    }
}

/// Checks that `value` is from `min` to 100.
fn percent(name: &str, min: u8, value: u8) -> Result<u8> {
    if (min..=100).contains(&value) {
        return Ok(value);
    }
    pr_err!(
        "{}={}: must be {} to 100 (percent of RAM)\n",
        name,
        value,
        min
    );
    Err(EINVAL)
}

/// Checks that `value` is 0 or 1.
fn switch(name: &str, value: u8) -> Result<bool> {
    if value <= 1 {
        return Ok(value == 1);
    }
    pr_err!("{}={}: must be 0 or 1\n", name, value);
    Err(EINVAL)
}
