// SPDX-License-Identifier: GPL-2.0

//! What this process and the heaps hold, so that a failed call can be seen to have left nothing
//! behind.

use anyhow::{
    ensure,
    Result, //
};
use guest_support::checkers;
use guest_support::dma_buf::{
    self,
    Totals, //
};
use guest_support::memory;
use guest_support::process::eventually;
use std::time::Duration;

/// How far the memory at rest may differ without anything having leaked: slab pages with a few
/// objects left in them, page tables and kernel stacks come and go. A test makes sure that what it
/// could leak is more.
pub const MEMORY_NOISE: usize = 1 << 20;

/// How long a heap may clear memory in the background before it counts as free again.
const SETTLED: Duration = Duration::from_secs(10);

/// A picture of what is held.
#[derive(Debug)]
pub struct Footprint {
    descriptors: usize,
    buffers: Totals,
    memory: usize,
}

impl Footprint {
    pub fn now() -> Result<Footprint> {
        Ok(Footprint {
            descriptors: open_descriptors()?,
            buffers: dma_buf::totals()?,
            memory: memory::free_and_reclaimable()?,
        })
    }

    /// Checks that nothing more is held than when the picture was taken.
    pub fn check_unchanged(&self) -> Result<()> {
        eventually(SETTLED, || {
            let now = Footprint::now()?;
            ensure!(
                now.descriptors == self.descriptors,
                "{} descriptors were open, now {}",
                self.descriptors,
                now.descriptors
            );
            ensure!(
                now.buffers == self.buffers,
                "{:?} before, {:?} now",
                self.buffers,
                now.buffers
            );
            let missing = self.memory.saturating_sub(now.memory);
            ensure!(
                missing <= checkers::tolerated(MEMORY_NOISE),
                "{missing} bytes of memory are gone"
            );
            Ok(())
        })
    }
}

/// How many descriptors this process has open.
pub fn open_descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}
