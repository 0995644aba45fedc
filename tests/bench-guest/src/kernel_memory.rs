// SPDX-License-Identifier: GPL-2.0

//! The kernel memory per live buffer, without the memory of the buffer itself.

use crate::figure::{
    print_figure,
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

/// Number of buffers that fill the free slots of partial slabs.
const SLAB_FILLERS: usize = 2000;

/// Number of rounds. The median is reported, because the fill level of the kernel's per-CPU lists
/// varies by a few pages.
const ROUNDS: usize = 5;

/// Longer than freed contiguous memory is cached.
const CACHE_EXPIRY: Duration = Duration::from_millis(2500);

/// Returns the bytes of free and pooled memory.
fn unused() -> Result<usize> {
    std::thread::sleep(CACHE_EXPIRY);
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
        let mut first = Vec::with_capacity(ROUNDS * SLAB_FILLERS);
        for _ in 0..ROUNDS {
            // Fill the partial slabs.
            for _ in 0..SLAB_FILLERS {
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
        print_figure(
            &format!("kernel-memory/{name}"),
            size,
            taken[ROUNDS / 2] / count as f64 - size as f64,
        );
    }
    Ok(())
}
