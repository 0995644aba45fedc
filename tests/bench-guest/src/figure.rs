// SPDX-License-Identifier: GPL-2.0

//! How a figure is printed, and the sizes that figures are for.

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// The sizes of buffers.
pub const SIZES: [usize; 5] = [4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];

/// Prints a figure.
pub fn tell(name: &str, size: usize, value: f64) {
    println!("{name}\t{size}\t{value:.3}");
}
