// SPDX-License-Identifier: GPL-2.0

//! The memory that the kernel needs for a live buffer, beside the buffer's own.

use crate::figure::{tell, KIB, MIB};
use crate::growth::allow_descriptors;
use crate::side::Side;
use anyhow::Result;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::memory;

/// More buffers than there is room for in slabs that the kernel keeps although they are free.
const FIRST: usize = 2000;

/// Memory that is free or kept ready for buffers.
fn unused() -> Result<usize> {
    std::thread::sleep(crate::clock::PAUSE);
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
        // These fill the slabs that are partly free.
        let first = (0..FIRST).map(|_| heap.allocate(4 * KIB));
        let _first = first.collect::<Result<Vec<_>>>()?;
        let before = unused()?;
        for _ in 0..count {
            live.push(heap.allocate(size)?);
        }
        let taken = before as f64 - unused()? as f64;
        tell(
            &format!("kernel-memory/{name}"),
            size,
            taken / count as f64 - size as f64,
        );
    }
    Ok(())
}
