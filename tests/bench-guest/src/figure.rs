// SPDX-License-Identifier: GPL-2.0

//! Output of figures, and the buffer sizes that are measured.

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// The measured buffer sizes, in bytes.
pub const SIZES: [usize; 5] = [4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];

/// Prints a figure as a line on standard output.
pub fn print_figure(name: &str, size: usize, value: f64) {
    println!("{name}\t{size}\t{value:.3}");
}
