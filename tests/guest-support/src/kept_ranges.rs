// SPDX-License-Identifier: GPL-2.0

//! Freed ranges of contiguous memory, which the module keeps for a while.

use anyhow::{
    Context,
    Result, //
};
use std::fs;
use std::time::Duration;

/// The node that switches keeping off and on.
pub const NODE: &str = "/proc/rk_dma_heap/keep_ranges";

/// How long a freed range is kept.
pub const KEEP_TIME: Duration = Duration::from_millis(1000);

/// Switches keeping to `on`, any text.
pub fn switch_to(on: &str) -> Result<()> {
    fs::write(NODE, on).with_context(|| format!("cannot write {NODE}"))
}

/// Releases all kept ranges, and enables keeping.
pub fn release() -> Result<()> {
    switch_to("0")?;
    switch_to("1")
}
