// SPDX-License-Identifier: GPL-2.0

//! What each row may cost at most, as a share of the figure that it is compared with.
//!
//! `aim` is what is wanted. Where that was not reached, `reached` says what was, with its reason,
//! and holds instead. A figure varies by 1 % between boots: what was reached is written down with a
//! little room. Shares are compared with the digits that are printed: 1.004 is no more than 1.00.

use crate::rows::{
    KIB,
    MIB, //
};

/// What holds for one row and size.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    pub row: &'static str,
    pub size: usize,
    pub aim: f64,
    /// What was reached where the aim was not, and why no more.
    pub reached: Option<(f64, &'static str)>,
}

const fn floor(row: &'static str, size: usize, aim: f64) -> Floor {
    Floor {
        row,
        size,
        aim,
        reached: None,
    }
}

impl Floor {
    /// Says that the aim was not reached, but this.
    const fn reached(mut self, share: f64, reason: &'static str) -> Self {
        self.reached = Some((share, reason));
        self
    }

    /// The largest share with which it holds.
    pub fn at_most(&self) -> f64 {
        self.reached.map_or(self.aim, |(share, _)| share)
    }

    /// Whether it holds with this share.
    pub fn holds(&self, ratio: f64) -> bool {
        is_within(ratio, self.at_most())
    }
}

/// After how many digits behind the point nothing more is said of a share.
pub fn digits(share: f64) -> i32 {
    match share.abs() {
        ..0.0095 => 4,
        ..0.095 => 3,
        _ => 2,
    }
}

/// Whether a share is no more than another, as they are printed.
pub fn is_within(share: f64, limit: f64) -> bool {
    let digits = 10_f64.powi(digits(limit));
    (share * digits).round() <= (limit * digits).round()
}

/// The floor of a row and size, if it has one.
pub fn find(row: &str, size: usize) -> Option<&'static Floor> {
    FLOORS
        .iter()
        .find(|floor| floor.row == row && floor.size == size)
}

const LEAST: &str = "docs/profile.md: 2,591 of the kernel's 3,873 instructions are taken by every heap, to export a dma-buf and \
    to install a descriptor. That is a share of 0.67, 0.31 and 0.033; the aim leaves 430 for all else, and 720 are taken: \
    145 to check the request and to find the heap, 220 to take memory from the pool, 260 to note the buffer among the \
    module's own, with who made it and when. Without that it would be 0.79";
const RECORDED: &str = "noting and naming each buffer takes 520 instructions to allocate and 250 to close, as the table below \
    says; without that 4 KiB cold is 1.12, the cycle 0.95, and contiguous memory 1.00. Of the rest, an allocation that may \
    not have anybody killed looks whether the kernel keeps room, and one that may be given up for a signal";
const ZEROED_AT_CLOSE: &str = "docs/profile.md: 2,054 of the kernel's 2,459 instructions are taken by every heap. A page is \
    zeroed here, 285 instructions, which the kernel's heap does when it allocates; noting that the buffer goes takes 250. \
    Leaving the page to the thread would cost more than to zero it";
const ONE_OF_MANY: &str = "a constant of 65 or 160 instructions, for what larger buffers gain from: whether an entry of 2 MiB \
    fits, how long a segment the device takes, which list of runs is next";
const NAMED_TWICE: &str = "as in the other heaps of areas, and a name of its own: the thread's alone, where the others have the \
    number of the process before it";
const PACKED: &str = "a packed heap begins at the lowest page that is free, in the middle of a block, and the kernel gives back \
    page by page what it cuts off behind it: 330 instructions each. The same size aligned takes 1.00 or less";
const CORE_LOCK: &str = "65 instructions an ioctl, 32 an importer: the list of importers is the dma-buf core's, under its own \
    lock, and not a second one with a copy of each list";
const RECORD: &str =
    "a name of 32 bytes and a record of 96, of which the kernel's heap has neither";
const ZEROING: &str = "zeroing 12.4 MB sixty times a second is 0.35 of what the kernel's heap takes, whoever does it. Of the \
    program's own time it is 0.003";

#[rustfmt::skip] // a table
pub const FLOORS: &[Floor] = &[
    floor("allocate-warm/system", 4 * KIB,  1.05),
    floor("allocate-warm/system", 64 * KIB, 0.50),
    floor("allocate-warm/system", MIB,      0.050),
    floor("allocate-warm/system", 8 * MIB,  0.0090),
    floor("allocate-warm/system", 32 * MIB, 0.0035),

    floor("allocate-untracked/system", 4 * KIB,  0.78).reached(0.87, LEAST),
    floor("allocate-untracked/system", 64 * KIB, 0.36).reached(0.41, LEAST),
    floor("allocate-untracked/system", MIB,      0.036).reached(0.043, LEAST),
    floor("allocate-untracked/system", 8 * MIB,  0.0068),
    floor("allocate-untracked/system", 32 * MIB, 0.0030),

    floor("allocate-cold/system", 4 * KIB,  1.03).reached(1.26, RECORDED),
    floor("allocate-cold/system", 64 * KIB, 1.03).reached(1.13, RECORDED),
    floor("allocate-cold/system", MIB,      1.03),
    floor("allocate-cold/system", 8 * MIB,  1.03),
    floor("allocate-cold/system", 32 * MIB, 1.03),

    floor("close/system", 4 * KIB,  1.05).reached(1.21, ZEROED_AT_CLOSE),
    floor("close/system", MIB,      0.35),
    floor("close/system", 32 * MIB, 0.014),

    floor("cycle/system", 4 * KIB,  1.00).reached(1.08, RECORDED),
    floor("cycle/system", 64 * KIB, 1.00),
    floor("cycle/system", MIB,      1.00),
    floor("cycle/system", 8 * MIB,  1.00),
    floor("cycle/system", 32 * MIB, 1.00),

    floor("map/system", 4 * KIB,  1.00).reached(1.01, ONE_OF_MANY),
    floor("map/system", MIB,      1.00),
    floor("map/system", 32 * MIB, 1.00),

    floor("map-aligned/system", 8 * MIB,  0.15),
    floor("map-aligned/system", 32 * MIB, 0.12),

    floor("map/cma", MIB,      0.10),
    floor("map/cma", 8 * MIB,  0.08),
    floor("map/cma", 32 * MIB, 0.08),

    floor("map-aligned/cma", 8 * MIB,  0.02),
    floor("map-aligned/cma", 32 * MIB, 0.01),

    floor("allocate-cold/cma", 4 * KIB,  1.00).reached(1.01, RECORDED),
    floor("allocate-cold/cma", 64 * KIB, 1.00).reached(1.01, RECORDED),
    floor("allocate-cold/cma", MIB,      1.00),
    floor("allocate-cold/cma", 8 * MIB,  1.00),
    floor("allocate-cold/cma", 32 * MIB, 1.00),

    floor("allocate-cold/rk-dma-heap-cma", 4 * KIB,  1.00).reached(1.02, NAMED_TWICE),
    floor("allocate-cold/rk-dma-heap-cma", 64 * KIB, 1.00).reached(1.02, NAMED_TWICE),
    floor("allocate-cold/rk-dma-heap-cma", MIB,      1.00).reached(1.35, PACKED),
    floor("allocate-cold/rk-dma-heap-cma", 8 * MIB,  1.00).reached(1.05, PACKED),
    floor("allocate-cold/rk-dma-heap-cma", 32 * MIB, 1.00).reached(1.01, PACKED),

    floor("allocate-warm/cma", 4 * KIB,  0.05),
    floor("allocate-warm/cma", 64 * KIB, 0.05),
    floor("allocate-warm/cma", MIB,      0.04),
    floor("allocate-warm/cma", 8 * MIB,  0.02),

    floor("allocate-warm/rk-dma-heap-cma", 4 * KIB,  0.05),
    floor("allocate-warm/rk-dma-heap-cma", 64 * KIB, 0.05),
    floor("allocate-warm/rk-dma-heap-cma", MIB,      0.04),
    floor("allocate-warm/rk-dma-heap-cma", 8 * MIB,  0.02),

    floor("close/cma", 8 * MIB,  0.50),
    floor("close/cma", 32 * MIB, 0.50),

    floor("attach/system", 4 * KIB,  1.00).reached(1.05, ONE_OF_MANY),
    floor("attach/system", 64 * KIB, 1.00).reached(1.02, ONE_OF_MANY),
    floor("attach/system", MIB,      1.00),
    floor("attach/system", 8 * MIB,  1.00),
    floor("attach/system", 32 * MIB, 1.00),

    floor("attach/cma", 4 * KIB,  1.00).reached(1.01, ONE_OF_MANY),
    floor("attach/cma", 64 * KIB, 1.00),
    floor("attach/cma", MIB,      1.00),
    floor("attach/cma", 8 * MIB,  1.00),
    floor("attach/cma", 32 * MIB, 1.00),

    floor("sync-1/system", 4 * KIB,  1.00).reached(1.08, CORE_LOCK),
    floor("sync-1/system", 64 * KIB, 1.00).reached(1.01, CORE_LOCK),
    floor("sync-1/system", MIB,      1.00),
    floor("sync-1/system", 8 * MIB,  1.00),
    floor("sync-1/system", 32 * MIB, 1.00),

    floor("sync-8/system", 4 * KIB,  1.00).reached(1.05, CORE_LOCK),
    floor("sync-8/system", 64 * KIB, 1.00),
    floor("sync-8/system", MIB,      1.00),
    floor("sync-8/system", 8 * MIB,  1.00),
    floor("sync-8/system", 32 * MIB, 1.00),

    floor("sync-1/system-uncached", 4 * KIB,  0.20),
    floor("sync-1/system-uncached", 64 * KIB, 0.20),
    floor("sync-1/system-uncached", MIB,      0.20),
    floor("sync-1/system-uncached", 8 * MIB,  0.20),
    floor("sync-1/system-uncached", 32 * MIB, 0.20),

    floor("sync-8/system-uncached", 4 * KIB,  0.20),
    floor("sync-8/system-uncached", 64 * KIB, 0.20),
    floor("sync-8/system-uncached", MIB,      0.20),
    floor("sync-8/system-uncached", 8 * MIB,  0.20),
    floor("sync-8/system-uncached", 32 * MIB, 0.20),

    floor("kernel-memory/system", 4 * KIB, 1.00).reached(1.11, RECORD),
    floor("kernel-memory/cma",    8 * MIB, 0.10),

    floor("frames/cma", crate::rows::FRAME, 0.15).reached(0.39, ZEROING),

    floor("growth-allocate", 100_000, 1.05),
    floor("growth-close",    100_000, 1.05),
    // Numbers in it get longer.
    floor("growth-line",     100_000, 1.15),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    #[test]
    fn each_floor_is_of_a_row_that_is_measured_and_the_only_one() {
        for floor in FLOORS {
            let row = ROWS.iter().find(|row| row.key == floor.row);
            assert!(
                row.is_some_and(|row| row.sizes.contains(&floor.size)),
                "{} {}",
                floor.row,
                floor.size
            );
            let same = |other: &&Floor| other.row == floor.row && other.size == floor.size;
            assert_eq!(
                FLOORS.iter().filter(same).count(),
                1,
                "{} {}",
                floor.row,
                floor.size
            );
        }
    }

    #[test]
    fn shares_are_compared_as_they_are_printed() {
        assert!(floor("a", 1, 1.0).holds(1.004) && !floor("a", 1, 1.0).holds(1.006));
        assert!(floor("a", 1, 0.05).holds(0.0504) && !floor("a", 1, 0.05).holds(0.051));
        assert!(floor("a", 1, 0.009).holds(0.009) && !floor("a", 1, 0.009).holds(0.0091));
        assert!(!floor("a", 1, 1.0).holds(f64::NAN) && !floor("a", 1, 1.0).holds(f64::INFINITY));
    }

    #[test]
    fn what_was_reached_holds_instead_of_the_aim_and_is_no_better() {
        assert_eq!(floor("a", 1, 0.5).at_most(), 0.5);
        assert_eq!(floor("a", 1, 0.5).reached(0.7, "why").at_most(), 0.7);
        for floor in FLOORS {
            assert!(floor.at_most() >= floor.aim, "{} {}", floor.row, floor.size);
        }
    }
}
