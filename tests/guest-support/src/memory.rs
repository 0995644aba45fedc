// SPDX-License-Identifier: GPL-2.0

//! The memory usage of the system.
//!
//! `MemFree` alone does not measure it: free pages are also in per-CPU lists, the per-CPU counters
//! are folded with a delay, caches grow and shrink, and heaps keep memory in pools.
//! [`free_and_reclaimable`] drops all caches and adds up the free and the reclaimable memory. Its
//! accuracy is a few hundred pages.

use crate::retry::eventually;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::time::Duration;

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// Returns a field of `/proc/meminfo`, in bytes.
pub fn meminfo(field: &str) -> Result<usize> {
    parse_meminfo(&read("/proc/meminfo")?, field)
}

fn parse_meminfo(text: &str, field: &str) -> Result<usize> {
    let kib: usize = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .with_context(|| format!("/proc/meminfo has no field {field}"))?
        .parse()?;
    Ok(kib * 1024)
}

/// Returns the memory that the kernel manages, in bytes.
pub fn total() -> Result<usize> {
    meminfo("MemTotal")
}

/// Change of the per-CPU lists that is accepted during a measurement, in pages. This process itself
/// causes it.
const NOISE: usize = 64;

/// Returns the bytes that are free, in per-CPU lists, or in the caches of the kernel, after it has
/// dropped all caches.
///
/// The heaps free their pools in reclaim. The pool sizes that the heaps report are not added,
/// because a wrong report would hide leaked memory.
pub fn free_and_reclaimable() -> Result<usize> {
    // 4 disables the log message of each call, 3 drops all caches.
    for command in ["4", "3"] {
        std::fs::write("/proc/sys/vm/drop_caches", command).context("cannot drop caches")?;
    }
    // Fold the counters of all CPUs into the totals.
    std::fs::write("/proc/sys/vm/stat_refresh", "1").context("cannot refresh the counters")?;
    let (mut bytes, text) = free_and_meminfo()?;
    for field in ["Buffers", "Cached", "SReclaimable"] {
        bytes += parse_meminfo(&text, field)?;
    }
    Ok(bytes)
}

/// Waits until no more than `tolerance` bytes are missing of what was free or reclaimable `before`.
pub fn is_back(before: usize, tolerance: usize) -> Result<()> {
    eventually(Duration::from_secs(10), || {
        let after = free_and_reclaimable()?;
        ensure!(after + tolerance > before, "{before} before, {after} after");
        Ok(())
    })
}

/// Returns the free bytes, including per-CPU lists, which `MemFree` excludes.
pub fn free() -> Result<usize> {
    Ok(free_and_meminfo()?.0)
}

/// Returns the free bytes, including per-CPU lists, and the content of `/proc/meminfo` that was
/// read at the same time.
fn free_and_meminfo() -> Result<(usize, String)> {
    // A kernel worker drains the per-CPU lists periodically. Pages that it moves between the two
    // reads would be counted twice.
    let mut pages = pages_in_cpu_lists()?;
    loop {
        let text = read("/proc/meminfo")?;
        let after = pages_in_cpu_lists()?;
        if pages.abs_diff(after) < NOISE {
            let bytes = pages * crate::page_size() + parse_meminfo(&text, "MemFree")?;
            return Ok((bytes, text));
        }
        pages = after;
    }
}

/// Returns the bytes in the page pools of the heaps; 0 if no pools exist.
pub fn pooled() -> Result<usize> {
    match std::fs::read_to_string("/sys/kernel/dma_heap/total_pools_kb") {
        Ok(text) => Ok(text.trim().parse::<usize>()? * 1024),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn pages_in_cpu_lists() -> Result<usize> {
    count_in_cpu_lists(&read("/proc/zoneinfo")?)
}

fn count_in_cpu_lists(zoneinfo: &str) -> Result<usize> {
    zoneinfo
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"))
        .map(|count| Ok(count.trim().parse::<usize>()?))
        .sum()
}

/// Returns the number of processes that the OOM killer has killed.
pub fn oom_kills() -> Result<usize> {
    read("/proc/vmstat")?
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .context("/proc/vmstat does not count OOM kills")?
        .parse()
        .context("/proc/vmstat: oom_kill is not a number")
}

/// Keeps the lists of free pages that each CPU has short until it is dropped.
///
/// Together they may hold an eighth of a zone. What is in them is missing where memory is filled to
/// the last page, and how much that is differs by tens of MiB from one time to the next.
#[derive(Debug)]
pub struct ShortCpuLists(());

impl ShortCpuLists {
    /// The parts into which the kernel divides a zone for the lists; 0 lets them grow by use.
    const FRACTION: &str = "/proc/sys/vm/percpu_pagelist_high_fraction";

    /// Empties all lists but for a few pages.
    pub fn new() -> Result<Self> {
        // The kernel does not make them shorter than it needs.
        std::fs::write(Self::FRACTION, "100000").context(Self::FRACTION)?;
        Ok(Self(()))
    }
}

impl Drop for ShortCpuLists {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FRACTION, "0");
    }
}

/// Locks all current and future pages of this process in memory.
pub fn lock_this_process() -> Result<()> {
    use nix::sys::mman::{
        mlockall,
        MlockAllFlags, //
    };
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .context("cannot lock this process in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "MemTotal:        1000 kB\nMemFree:          10 kB\nHugePages_Total:   0\n";
        assert_eq!(parse_meminfo(text, "MemFree").unwrap(), 10 * 1024);
        assert!(parse_meminfo(text, "Mem").is_err());
    }

    #[test]
    fn cpu_lists_are_added_up() {
        let text = "Node 0, zone DMA\n  pagesets\n    cpu: 0\n              count:    7\n\
            \u{20}             high:     9\n    cpu: 1\n              count:    5\n";
        assert_eq!(count_in_cpu_lists(text).unwrap(), 12);
    }
}
