// SPDX-License-Identifier: GPL-2.0

//! The memory that the kernel needs for a live buffer, beside the buffer's own.

use crate::figure::{
    tell,
    KIB,
    MIB, //
};
use crate::growth::allow_descriptors;
use crate::side::Side;
use anyhow::Result;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::memory;
use std::time::Duration;

/// More buffers than there is room for in slabs that the kernel keeps although they are free.
const FIRST: usize = 2000;

/// A few pages more or less are in lists of the kernel's each time: the figure in the middle is
/// told.
const ROUNDS: usize = 5;

/// Until contiguous memory that was freed is no longer kept.
const GONE: Duration = Duration::from_millis(2500);

/// Memory that is free or kept ready for buffers.
fn unused() -> Result<usize> {
    std::thread::sleep(GONE);
    Ok(memory::free()? + memory::pooled()?)
}

pub fn measure(side: &Side) -> Result<()> {
    allow_descriptors()?;
    let contiguous = side.contiguous_heap();
    for (name, node, size, count) in [
        ("system", "system", 4 * KIB, 10_000),
        ("cma", contiguous, 8 * MIB, 96),
    ] {
        let heap = Heap::open(node)?;
        let mut live: Vec<Buffer> = Vec::with_capacity(count);
        let mut taken = Vec::with_capacity(ROUNDS);
        let mut first = Vec::with_capacity(ROUNDS * FIRST);
        for _ in 0..ROUNDS {
            // These fill the slabs that are partly free.
            for _ in 0..FIRST {
                first.push(heap.allocate(4 * KIB)?);
            }
            let before = unused()?;
            for _ in 0..count {
                live.push(heap.allocate(size)?);
            }
            taken.push(before as f64 - unused()? as f64);
            live.clear();
        }
        taken.sort_by(f64::total_cmp);
        tell(
            &format!("kernel-memory/{name}"),
            size,
            taken[ROUNDS / 2] / count as f64 - size as f64,
        );
    }
    Ok(())
}
