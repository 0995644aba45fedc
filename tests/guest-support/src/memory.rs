// SPDX-License-Identifier: GPL-2.0

//! How much memory the kernel has.
//!
//! `MemFree` alone is no measure of what is in use: pages wait in per-CPU lists, the counters of
//! each CPU are folded in with a delay, caches come and go, and heaps keep memory in pools.
//! [`at_rest`] has all caches dropped, adds up what is free or can be taken back, and is good to a
//! few hundred pages.

use anyhow::{
    Context,
    Result, //
};

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// A field of `/proc/meminfo`, in bytes.
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

/// The memory that the kernel manages, in bytes.
pub fn total() -> Result<usize> {
    meminfo("MemTotal")
}

/// How many pages the lists of the CPUs may change by while one looks: those of this process
/// itself.
const NOISE: usize = 64;

/// The bytes that are in no use that lasts: free, waiting in per-CPU lists, or in the kernel's own
/// caches.
///
/// What a heap keeps in a pool it has to give back first. That is not asked of the heap: a heap
/// that counts wrongly would hide what it lost.
pub fn at_rest() -> Result<usize> {
    // 4 saves a line in the log each time, 3 drops everything.
    for order in ["4", "3"] {
        std::fs::write("/proc/sys/vm/drop_caches", order).context("cannot drop caches")?;
    }
    // Folds the counters of all CPUs into the totals.
    std::fs::write("/proc/sys/vm/stat_refresh", "1").context("cannot refresh the counters")?;
    let (mut bytes, text) = free_and_meminfo()?;
    for field in ["Buffers", "Cached", "SReclaimable"] {
        bytes += parse_meminfo(&text, field)?;
    }
    Ok(bytes)
}

/// The bytes that are free, in the lists of CPUs too, which `MemFree` leaves out.
pub fn free() -> Result<usize> {
    Ok(free_and_meminfo()?.0)
}

/// The same, and `/proc/meminfo` of that moment.
fn free_and_meminfo() -> Result<(usize, String)> {
    // A worker of the kernel's empties the lists now and then. What it moves between two looks
    // would count twice.
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

/// The bytes in the heaps' page pools; none where there are no pools.
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

/// How often the kernel has killed a process for want of memory.
pub fn oom_kills() -> Result<usize> {
    read("/proc/vmstat")?
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .context("/proc/vmstat does not count OOM kills")?
        .parse()
        .context("/proc/vmstat: oom_kill is no number")
}

/// Keeps every page of this process in memory, now and later.
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
        let text = "Node 0, zone DMA\n  pagesets\n    cpu: 0\n              count:    7\n              high:     9\n    cpu: 1\n              count:    5\n";
        assert_eq!(count_in_cpu_lists(text).unwrap(), 12);
    }
}
