// SPDX-License-Identifier: GPL-2.0

//! Resources of this process and of the heaps, to check that a failed call has leaked nothing.

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
use guest_support::retry::eventually;
use std::time::Duration;

/// Tolerated difference of free memory: slab pages with a few objects, page tables and kernel
/// stacks are allocated and freed at any time. A test must be able to leak more than this.
pub const MEMORY_NOISE: usize = 1 << 20;

/// Maximum time in which a heap zeroes freed memory in the background.
const SETTLED: Duration = Duration::from_secs(10);

/// A snapshot of the held resources.
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

    /// Checks that not more is held than at the time of the snapshot.
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
                "{missing} bytes of memory are lost"
            );
            Ok(())
        })
    }
}

/// Returns the number of open descriptors of this process.
pub fn open_descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}
