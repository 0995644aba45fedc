// SPDX-License-Identifier: GPL-2.0

//! Whether the kernel module `rk_dma_heap` is loaded, and how to load it.

use crate::parse::sum_file;
use crate::system::System;

/// How to load the module. Messages put their cause before this text.
pub const LOAD_HINT: &str = "load the module with `sudo modprobe rk_dma_heap` or insmod";

/// Returns whether there are the module's debug nodes. Rockchip's kernels have nodes of the same
/// names without the module.
pub fn is_loaded(system: &System) -> bool {
    system.exists(sum_file::SIZE.path)
}
