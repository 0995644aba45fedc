// SPDX-License-Identifier: GPL-2.0

//! Adjustments for debug kernels with KASAN and kmemleak. These kernels are slow and delay the
//! reuse of freed memory to detect use after free.

use std::path::Path;

/// The maximum memory that the checkers retain, in bytes: KASAN quarantines 1/32 of the memory and
/// stores the stack traces of allocations and frees.
const RETAINED: usize = 96 << 20;

/// Divisor for the number of repetitions with checkers.
const ROUNDS_DIVISOR: usize = 10;

/// Divisor for the number of repetitions on 32-bit machines, which are slow without checkers too.
const ROUNDS_DIVISOR_32_BIT: usize = 4;

/// Factor by which timeouts are longer with checkers.
const TIMEOUT_FACTOR: u32 = 4;

/// Returns whether the kernel detects memory leaks itself.
pub fn enabled() -> bool {
    Path::new("/sys/kernel/debug/kmemleak").exists()
}

/// Returns the tolerated loss of memory for a test that tolerates `bytes` without checkers. With
/// checkers kmemleak detects leaks.
pub fn tolerated(bytes: usize) -> usize {
    if enabled() {
        bytes + RETAINED
    } else {
        bytes
    }
}

/// Returns the number of repetitions for a test that repeats an operation `normal` times on a
/// 64-bit kernel without checkers. Defects that need more repetitions are found on that kernel.
pub fn rounds(normal: usize) -> usize {
    let divisor = if enabled() {
        ROUNDS_DIVISOR
    } else if cfg!(target_pointer_width = "32") {
        ROUNDS_DIVISOR_32_BIT
    } else {
        1
    };
    normal.div_ceil(divisor)
}

/// Returns the factor for timeouts.
pub fn timeout_factor() -> u32 {
    if enabled() {
        TIMEOUT_FACTOR
    } else {
        1
    }
}
