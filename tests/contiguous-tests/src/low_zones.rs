// SPDX-License-Identifier: GPL-2.0

//! The zones below 4 GiB.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::page_size;

/// A zone below 4 GiB, as `/proc/zoneinfo` describes it.
pub struct LowZone {
    text: String,
}

impl LowZone {
    /// Returns those that have memory.
    pub fn all() -> Result<Vec<Self>> {
        let text = std::fs::read_to_string("/proc/zoneinfo")?;
        let mut zones = Vec::new();
        for zone in text.split("Node ").filter(|zone| zone.contains("zone   ")) {
            let name = zone.lines().next().unwrap_or_default();
            let text = zone.to_owned();
            let zone = LowZone { text };
            if name.contains("DMA") && zone.number("managed")? > 0 {
                zones.push(zone);
            }
        }
        ensure!(!zones.is_empty(), "no zone below 4 GiB");
        Ok(zones)
    }

    /// Returns what follows `prefix` on a line.
    fn value(&self, prefix: &str) -> Result<&str> {
        let mut lines = self.text.lines();
        let value = lines.find_map(|line| line.trim().strip_prefix(prefix));
        Ok(value.with_context(|| format!("no {prefix}"))?.trim())
    }

    /// Returns the number after `prefix` on a line, such as `pages free`.
    pub fn number(&self, prefix: &str) -> Result<usize> {
        Ok(self.value(prefix)?.parse()?)
    }

    /// Returns the pages that the kernel keeps from allocations that may be anywhere: the watermark
    /// high and the protection.
    pub fn kept(&self) -> Result<usize> {
        let protection = self.value("protection: (")?.trim_end_matches(')');
        let pages = protection
            .split(", ")
            .filter_map(|pages| pages.parse::<usize>().ok());
        Ok(self.number("high")? + pages.max().context("no protection")?)
    }
}

/// Returns the free memory below 4 GiB, in bytes.
pub fn free() -> Result<usize> {
    let mut pages = 0;
    for zone in LowZone::all()? {
        pages += zone.number("pages free")?;
    }
    Ok(pages * page_size())
}
