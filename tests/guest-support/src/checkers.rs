// SPDX-License-Identifier: GPL-2.0

//! Kernels that check themselves: they are slow, and keep what was freed to see whether anybody
//! still uses it.

use std::path::Path;

/// What such a kernel keeps at the most: KASAN a 32nd of memory, and the stacks of whoever
/// allocated and freed.
const KEPT: usize = 96 << 20;

/// How much less often things are done that are done very often.
const FEWER: usize = 10;

/// The same for 32-bit machines, which are slow without checkers too.
const FEWER_ON_32_BITS: usize = 4;

/// How much longer everything takes.
const SLOWER: u32 = 4;

/// Whether the kernel looks for lost memory itself.
pub fn are_on() -> bool {
    Path::new("/sys/kernel/debug/kmemleak").exists()
}

/// How much memory may be missing where an ordinary kernel may miss `bytes`. What is lost for good,
/// kmemleak finds.
pub fn tolerated(bytes: usize) -> usize {
    if are_on() {
        bytes + KEPT
    } else {
        bytes
    }
}

/// How often to do what is done `usual` times elsewhere. What shows only after very many times,
/// shows on an ordinary 64-bit kernel.
pub fn rounds(usual: usize) -> usize {
    let fewer = if are_on() {
        FEWER
    } else if cfg!(target_pointer_width = "32") {
        FEWER_ON_32_BITS
    } else {
        1
    };
    usual.div_ceil(fewer)
}

/// By what a limit in time is to be multiplied.
pub fn slowness() -> u32 {
    if are_on() {
        SLOWER
    } else {
        1
    }
}
