// SPDX-License-Identifier: GPL-2.0

//! What each row may cost at most, as a share of the figure that it is compared with.
//!
//! `aim` is what is wanted. Where that was not reached, `reached` says what was, with its reason, and holds instead. A figure
//! varies by 1 % between boots: what was reached is written down with a little room. Shares are compared with the digits that
//! are printed: 1.004 is no more than 1.00.

use crate::rows::{KIB, MIB};

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
    #[allow(dead_code, reason = "there may be nothing that was not reached")]
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

#[rustfmt::skip] // a table
pub const FLOORS: &[Floor] = &[
    floor("allocate-warm/system", 4 * KIB,  1.05),
    floor("allocate-warm/system", 64 * KIB, 0.50),
    floor("allocate-warm/system", MIB,      0.050),
    floor("allocate-warm/system", 8 * MIB,  0.0090),
    floor("allocate-warm/system", 32 * MIB, 0.0035),

    floor("allocate-untracked/system", 4 * KIB,  0.78),
    floor("allocate-untracked/system", 64 * KIB, 0.36),
    floor("allocate-untracked/system", MIB,      0.036),
    floor("allocate-untracked/system", 8 * MIB,  0.0068),
    floor("allocate-untracked/system", 32 * MIB, 0.0030),

    floor("allocate-cold/system", 4 * KIB,  1.03),
    floor("allocate-cold/system", 64 * KIB, 1.03),
    floor("allocate-cold/system", MIB,      1.03),
    floor("allocate-cold/system", 8 * MIB,  1.03),
    floor("allocate-cold/system", 32 * MIB, 1.03),

    floor("close/system", 4 * KIB,  1.05),
    floor("close/system", MIB,      0.35),
    floor("close/system", 32 * MIB, 0.014),

    floor("cycle/system", 4 * KIB,  1.00),
    floor("cycle/system", 64 * KIB, 1.00),
    floor("cycle/system", MIB,      1.00),
    floor("cycle/system", 8 * MIB,  1.00),
    floor("cycle/system", 32 * MIB, 1.00),

    floor("map/system", 4 * KIB,  1.00),
    floor("map/system", MIB,      1.00),
    floor("map/system", 32 * MIB, 1.00),

    floor("map-aligned/system", 8 * MIB,  0.15),
    floor("map-aligned/system", 32 * MIB, 0.12),

    floor("map/cma", MIB,      0.10),
    floor("map/cma", 8 * MIB,  0.08),
    floor("map/cma", 32 * MIB, 0.08),

    floor("map-aligned/cma", 8 * MIB,  0.02),
    floor("map-aligned/cma", 32 * MIB, 0.01),

    floor("allocate-cold/cma", 4 * KIB,  1.00),
    floor("allocate-cold/cma", 64 * KIB, 1.00),
    floor("allocate-cold/cma", MIB,      1.00),
    floor("allocate-cold/cma", 8 * MIB,  1.00),
    floor("allocate-cold/cma", 32 * MIB, 1.00),

    floor("allocate-cold/rk-dma-heap-cma", 4 * KIB,  1.00),
    floor("allocate-cold/rk-dma-heap-cma", 64 * KIB, 1.00),
    floor("allocate-cold/rk-dma-heap-cma", MIB,      1.00),
    floor("allocate-cold/rk-dma-heap-cma", 8 * MIB,  1.00),
    floor("allocate-cold/rk-dma-heap-cma", 32 * MIB, 1.00),

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

    floor("attach/system", 4 * KIB,  1.00),
    floor("attach/system", 64 * KIB, 1.00),
    floor("attach/system", MIB,      1.00),
    floor("attach/system", 8 * MIB,  1.00),
    floor("attach/system", 32 * MIB, 1.00),

    floor("attach/cma", 4 * KIB,  1.00),
    floor("attach/cma", 64 * KIB, 1.00),
    floor("attach/cma", MIB,      1.00),
    floor("attach/cma", 8 * MIB,  1.00),
    floor("attach/cma", 32 * MIB, 1.00),

    floor("sync-1/system", 4 * KIB,  1.00),
    floor("sync-1/system", 64 * KIB, 1.00),
    floor("sync-1/system", MIB,      1.00),
    floor("sync-1/system", 8 * MIB,  1.00),
    floor("sync-1/system", 32 * MIB, 1.00),

    floor("sync-8/system", 4 * KIB,  1.00),
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

    floor("kernel-memory/system", 4 * KIB, 1.00),
    floor("kernel-memory/cma",    8 * MIB, 0.10),

    floor("frames/cma", crate::rows::FRAME, 0.15),

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
