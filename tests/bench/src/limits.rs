// SPDX-License-Identifier: GPL-2.0

//! The maximum cost of each row, relative to its reference figure.
//!
//! `aim` is the target. If the target was not reached, `reached` records the achieved ratio and the
//! reason, and that ratio is the limit. Figures vary by 1 % between boots, so the recorded ratios
//! include a small margin. Ratios are compared after rounding to the printed precision: 1.004 does
//! not exceed 1.00.

use crate::rows::{
    KIB,
    MIB, //
};

/// The limit for one row and size.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub row: &'static str,
    pub size: usize,
    pub aim: f64,
    /// The ratio that applies if the aim was not reached, and the reason.
    pub reached: Option<(f64, &'static str)>,
}

const fn limit(row: &'static str, size: usize, aim: f64) -> Limit {
    Limit {
        row,
        size,
        aim,
        reached: None,
    }
}

impl Limit {
    /// Replaces the aim by an achieved ratio.
    const fn reached(mut self, ratio: f64, reason: &'static str) -> Self {
        self.reached = Some((ratio, reason));
        self
    }

    /// Returns the largest permitted ratio.
    pub fn at_most(&self) -> f64 {
        self.reached.map_or(self.aim, |(ratio, _)| ratio)
    }

    /// Returns whether `ratio` is within the limit.
    pub fn holds(&self, ratio: f64) -> bool {
        is_within(ratio, self.at_most())
    }
}

/// Returns the number of decimal places with which a ratio is printed and compared.
pub fn decimal_places(ratio: f64) -> i32 {
    match ratio.abs() {
        ..0.0095 => 4,
        ..0.095 => 3,
        _ => 2,
    }
}

/// Returns whether a ratio, rounded to the printed precision, does not exceed `limit`.
pub fn is_within(ratio: f64, limit: f64) -> bool {
    let digits = 10_f64.powi(decimal_places(limit));
    (ratio * digits).round() <= (limit * digits).round()
}

/// Returns the limit of a row and size, if one is defined.
pub fn find(row: &str, size: usize) -> Option<&'static Limit> {
    LIMITS
        .iter()
        .find(|limit| limit.row == row && limit.size == size)
}

const EXPORT_COST: &str = "docs/profile.md: every heap needs 2,628 of the in-tree heap's 3,910 \
    instructions to export a dma-buf and to install a descriptor. This is a ratio of 0.67, 0.31 \
    and 0.033. The aim leaves 420 instructions for everything else, but 740 are needed: 145 check \
    the request and find the heap, 220 take memory from the pool, and 200 add the buffer to the \
    module's list of its own buffers with its allocating process and time. Without that list the \
    ratio would be 0.81";
const TRACKING_COST: &str = "tracking and naming a buffer takes 390 instructions per allocation \
    and 150 per close, see the table of tracking costs. Without them 4 KiB cold is 1.13, \
    allocate and close 0.95, and contiguous memory 1.00. The rest are checks: an allocation that \
    must not trigger the OOM killer checks the kernel's reserves, and an interruptible one checks \
    for pending signals";
const ZEROED_AT_CLOSE: &str = "docs/profile.md: every heap needs 2,054 of the in-tree heap's \
    2,459 instructions. The module zeroes the page at close, which takes 285 instructions; the \
    in-tree heap zeroes it at allocation. Untracking the buffer takes 150. Deferring the page to \
    the kernel thread would cost more than zeroing it";
const VIEW_COUNT: &str = "65 instructions check whether a 2 MiB entry fits, and 40 count the \
    mapping as a view of the CPU when it is made and when it is gone. Without a view, devices get \
    the buffer without cache maintenance";
const DEFAULT_NAME: &str = "the cost of the other contiguous heaps, plus a different default \
    name: this heap uses the thread name only, the others put the process ID in front of it";
const CLEANED: &str = "programs pass the addresses of this heap's buffers to devices that never \
    attach, so new zeroes are written back from the caches before a buffer is handed out. The \
    kernel's loop takes 4 instructions per cache line of 64 bytes, 66,000 per MiB: half of a sync \
    for the CPU and back. Freed memory is cleaned in advance; new memory cannot be. The default \
    name adds what it adds to 4 KiB";
const CLEANED_AND_PACKED: &str = "programs pass the addresses of this heap's buffers to devices \
    that never attach, so new zeroes are written back from the caches before a buffer is handed \
    out. The kernel's loop takes 4 instructions per cache line of 64 bytes, 66,000 per MiB: half \
    of a sync for the CPU and back. Without that the ratios were 1.34, 1.04 and 1.01. The rest: a \
    packed heap allocates from the lowest free page, which may be in the \
    middle of a block, and the kernel frees the remainder of the block page by page, with 330 \
    instructions per page. An aligned allocation of the same size has a ratio of 1.00 or less";
const CPU_ACCESS: &str = "32 instructions per ioctl: the module looks at what the caches may \
    hold, at the direction in which each importer has mapped the buffer, and at the kernel \
    mapping. Each further importer takes 15 per ioctl, and the in-tree heap 367 for 4 KiB";
const ATTACH_COST: &str = "docs/profile.md: 2,962 instructions that do not depend on the size, \
    in place of the 2,900 to 3,000 that the in-tree heap takes besides cache maintenance; \
    maintenance takes none. All but 500 are the kernel's and the driver's own. \
    Filling the scatter list in place and counting its entries by list of runs saved 175; 2,680 \
    would leave 220 for the attachment, its scatter list, the lock of the importers, and the \
    look at how the device accesses memory";
const SCATTER_LIST: &str = "docs/profile.md: each attachment has a scatter list of its own, \
    with 163 instructions for each entry of 2 MiB, 110 of them the DMA interface's, and 340 for \
    its memory. Maintenance takes none. Filling an entry by one call and counting the entries by \
    list of runs saved 40 per entry; fewer entries need larger runs or a list that attachments \
    share. A contiguous buffer of this size has a ratio of 0.0007";
const CACHE_STATE: &str = "80 instructions when a buffer is mapped and unmapped, for how the \
    device accesses the memory. Without a view of the CPU they save the maintenance, which takes \
    512 for 4 KiB";
const BUFFER_RECORD: &str = "a name of 32 bytes and a record of 96 bytes per buffer; the in-tree \
    heap has neither";
const ZEROING: &str = "zeroing 12.4 MB 60 times per second takes 0.35 of the in-tree heap's CPU \
    time in any context. The ratio of the program's own CPU time is 0.003";
const LOAD_COST: &str = "8.9 million instructions. Registering a callback of the function tracer \
    takes 2.1 million, because the tracer visits all functions of the kernel. Sorting and applying \
    the relocations of 164 KiB of code takes 2.0 million, the import of 256 symbols and the \
    module's own symbol table 0.9 million, and nine kprobes, by which functions that are not \
    exported are found, 0.7 million";

#[rustfmt::skip] // a table
pub const LIMITS: &[Limit] = &[
    limit("allocate-warm/system", 4 * KIB,  1.05),
    limit("allocate-warm/system", 64 * KIB, 0.50),
    limit("allocate-warm/system", MIB,      0.050),
    limit("allocate-warm/system", 8 * MIB,  0.0090),
    limit("allocate-warm/system", 32 * MIB, 0.0035),

    limit("allocate-untracked/system", 4 * KIB,  0.78).reached(0.87, EXPORT_COST),
    limit("allocate-untracked/system", 64 * KIB, 0.36).reached(0.40, EXPORT_COST),
    limit("allocate-untracked/system", MIB,      0.036).reached(0.043, EXPORT_COST),
    limit("allocate-untracked/system", 8 * MIB,  0.0068),
    limit("allocate-untracked/system", 32 * MIB, 0.0030),

    limit("allocate-cold/system", 4 * KIB,  1.03).reached(1.24, TRACKING_COST),
    limit("allocate-cold/system", 64 * KIB, 1.03).reached(1.11, TRACKING_COST),
    limit("allocate-cold/system", MIB,      1.03),
    limit("allocate-cold/system", 8 * MIB,  1.03),
    limit("allocate-cold/system", 32 * MIB, 1.03),

    limit("close/system", 4 * KIB,  1.05).reached(1.21, ZEROED_AT_CLOSE),
    limit("close/system", MIB,      0.35),
    limit("close/system", 32 * MIB, 0.014),

    limit("cycle/system", 4 * KIB,  1.00).reached(1.06, TRACKING_COST),
    limit("cycle/system", 64 * KIB, 1.00),
    limit("cycle/system", MIB,      1.00),
    limit("cycle/system", 8 * MIB,  1.00),
    limit("cycle/system", 32 * MIB, 1.00),

    limit("map/system", 4 * KIB,  1.00).reached(1.01, VIEW_COUNT),
    limit("map/system", MIB,      1.00),
    limit("map/system", 32 * MIB, 1.00),

    limit("map-aligned/system", 8 * MIB,  0.15),
    limit("map-aligned/system", 32 * MIB, 0.12),

    limit("map/cma", MIB,      0.10),
    limit("map/cma", 8 * MIB,  0.08),
    limit("map/cma", 32 * MIB, 0.08),

    limit("map-aligned/cma", 8 * MIB,  0.02),
    limit("map-aligned/cma", 32 * MIB, 0.01),

    limit("allocate-cold/cma", 4 * KIB,  1.00).reached(1.02, TRACKING_COST),
    limit("allocate-cold/cma", 64 * KIB, 1.00).reached(1.02, TRACKING_COST),
    limit("allocate-cold/cma", MIB,      1.00),
    limit("allocate-cold/cma", 8 * MIB,  1.00),
    limit("allocate-cold/cma", 32 * MIB, 1.00),

    limit("allocate-reserve/cma", 4 * KIB,  0.05),
    limit("allocate-reserve/cma", 32 * MIB, 0.002),
    limit("longest-reserve/cma", MIB,       3.0),

    limit("allocate-cold/rk-dma-heap-cma", 4 * KIB,  1.00).reached(1.03, DEFAULT_NAME),
    limit("allocate-cold/rk-dma-heap-cma", 64 * KIB, 1.00).reached(1.06, CLEANED),
    limit("allocate-cold/rk-dma-heap-cma", MIB,      1.00).reached(1.62, CLEANED_AND_PACKED),
    limit("allocate-cold/rk-dma-heap-cma", 8 * MIB,  1.00).reached(1.40, CLEANED_AND_PACKED),
    limit("allocate-cold/rk-dma-heap-cma", 32 * MIB, 1.00).reached(1.44, CLEANED_AND_PACKED),

    limit("allocate-warm/cma", 4 * KIB,  0.05),
    limit("allocate-warm/cma", 64 * KIB, 0.05),
    limit("allocate-warm/cma", MIB,      0.04),
    limit("allocate-warm/cma", 8 * MIB,  0.02),

    limit("allocate-warm/rk-dma-heap-cma", 4 * KIB,  0.05),
    limit("allocate-warm/rk-dma-heap-cma", 64 * KIB, 0.05),
    limit("allocate-warm/rk-dma-heap-cma", MIB,      0.04),
    limit("allocate-warm/rk-dma-heap-cma", 8 * MIB,  0.02),

    limit("close/cma", 8 * MIB,  0.50),
    limit("close/cma", 32 * MIB, 0.50),

    limit("attach/system", 4 * KIB,  1.00),
    limit("attach/system", 64 * KIB, 1.00),
    limit("attach/system", MIB,      0.020).reached(0.022, ATTACH_COST),
    limit("attach/system", 8 * MIB,  0.020),
    limit("attach/system", 32 * MIB, 0.0010).reached(0.0014, SCATTER_LIST),

    limit("attach/cma", 4 * KIB,  1.00),
    limit("attach/cma", 64 * KIB, 1.00),
    limit("attach/cma", MIB,      0.020).reached(0.021, ATTACH_COST),
    limit("attach/cma", 8 * MIB,  0.020),
    limit("attach/cma", 32 * MIB, 0.0010),

    limit("attach-viewed/system", 4 * KIB,  1.00).reached(1.03, CACHE_STATE),
    limit("attach-viewed/system", 64 * KIB, 1.00).reached(1.01, CACHE_STATE),
    limit("attach-viewed/system", MIB,      1.00),
    limit("attach-viewed/system", 8 * MIB,  1.00),
    limit("attach-viewed/system", 32 * MIB, 1.00),

    limit("attach-viewed/cma", 4 * KIB,  1.00),
    limit("attach-viewed/cma", 64 * KIB, 1.00),
    limit("attach-viewed/cma", MIB,      1.00),
    limit("attach-viewed/cma", 8 * MIB,  1.00),
    limit("attach-viewed/cma", 32 * MIB, 1.00),

    limit("sync-1/system", 4 * KIB,  1.00).reached(1.09, CPU_ACCESS),
    limit("sync-1/system", 64 * KIB, 1.00).reached(1.01, CPU_ACCESS),
    limit("sync-1/system", MIB,      1.00),
    limit("sync-1/system", 8 * MIB,  1.00),
    limit("sync-1/system", 32 * MIB, 1.00),

    limit("sync-8/system", 4 * KIB,  0.20),
    limit("sync-8/system", 64 * KIB, 0.14),
    limit("sync-8/system", MIB,      0.13),
    limit("sync-8/system", 8 * MIB,  0.13),
    limit("sync-8/system", 32 * MIB, 0.13),

    limit("sync-1/system-uncached", 4 * KIB,  0.20),
    limit("sync-1/system-uncached", 64 * KIB, 0.20),
    limit("sync-1/system-uncached", MIB,      0.20),
    limit("sync-1/system-uncached", 8 * MIB,  0.20),
    limit("sync-1/system-uncached", 32 * MIB, 0.20),

    limit("sync-8/system-uncached", 4 * KIB,  0.20),
    limit("sync-8/system-uncached", 64 * KIB, 0.20),
    limit("sync-8/system-uncached", MIB,      0.20),
    limit("sync-8/system-uncached", 8 * MIB,  0.20),
    limit("sync-8/system-uncached", 32 * MIB, 0.20),

    limit("attach-second/system", MIB,      0.10),
    limit("attach-second/system", 8 * MIB,  0.10),
    limit("attach-second/system", 32 * MIB, 0.10),

    limit("entries/system", 8 * MIB,  0.50),
    limit("entries/system", 32 * MIB, 0.50),

    limit("vmap-first/system", 4 * KIB,  1.00),
    limit("vmap-first/system", 64 * KIB, 1.00),
    limit("vmap-first/system", MIB,      1.00),
    limit("vmap-first/system", 8 * MIB,  1.00),
    limit("vmap-first/system", 32 * MIB, 1.00),

    limit("vmap-again/system", 8 * MIB,  0.010),
    limit("vmap-again/system", 32 * MIB, 0.010),

    limit("vmap-first/cma", 8 * MIB,  0.0030),
    limit("vmap-first/cma", 32 * MIB, 0.0010),
    limit("vmap-again/cma", 8 * MIB,  0.0030),
    limit("vmap-again/cma", 32 * MIB, 0.0010),

    limit("kernel-memory/system", 4 * KIB, 1.00).reached(1.11, BUFFER_RECORD),
    limit("kernel-memory/cma",    8 * MIB, 0.10),

    limit("frames/cma", crate::rows::FRAME, 0.15).reached(0.40, ZEROING),

    // 3 million instructions. Those of the in-tree modules vary by 5 % between boots.
    limit("module-load", 0, 3.95).reached(12.4, LOAD_COST),

    limit("growth-allocate", 100_000, 1.05),
    limit("growth-close",    100_000, 1.05),
    // With more buffers the line contains longer numbers.
    limit("growth-line",     100_000, 1.15),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    #[test]
    fn each_limit_belongs_to_a_measured_row_and_is_unique() {
        for limit in LIMITS {
            let row = ROWS.iter().find(|row| row.key == limit.row);
            assert!(
                row.is_some_and(|row| row.sizes.contains(&limit.size)),
                "{} {}",
                limit.row,
                limit.size
            );
            let same = |other: &&Limit| other.row == limit.row && other.size == limit.size;
            assert_eq!(
                LIMITS.iter().filter(same).count(),
                1,
                "{} {}",
                limit.row,
                limit.size
            );
        }
    }

    #[test]
    fn ratios_are_compared_with_printed_precision() {
        assert!(limit("a", 1, 1.0).holds(1.004) && !limit("a", 1, 1.0).holds(1.006));
        assert!(limit("a", 1, 0.05).holds(0.0504) && !limit("a", 1, 0.05).holds(0.051));
        assert!(limit("a", 1, 0.009).holds(0.009) && !limit("a", 1, 0.009).holds(0.0091));
        assert!(!limit("a", 1, 1.0).holds(f64::NAN) && !limit("a", 1, 1.0).holds(f64::INFINITY));
    }

    #[test]
    fn reached_ratio_replaces_the_aim_and_is_not_lower() {
        assert_eq!(limit("a", 1, 0.5).at_most(), 0.5);
        assert_eq!(limit("a", 1, 0.5).reached(0.7, "why").at_most(), 0.7);
        for limit in LIMITS {
            assert!(limit.at_most() >= limit.aim, "{} {}", limit.row, limit.size);
        }
    }
}
