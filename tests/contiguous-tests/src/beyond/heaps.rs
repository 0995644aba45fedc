// SPDX-License-Identifier: GPL-2.0

//! Which heaps have memory outside of the areas, and what buffers and page arrays are made of it.

use super::{
    exists,
    limit_beyond,
    of_areas,
    range,
    tolerance,
    HEAP,
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::checkers;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::memory;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use std::time::Duration;

/// Time in which a request fails that the machine can never satisfy.
const AT_ONCE: Duration = Duration::from_millis(500);

// All of them exist and have memory. A buffer is one zeroed range, and those for 32-bit devices are
// below 4 GiB. The memory of freed buffers was written to before.
pub fn heaps() -> Result<()> {
    let names = heap::names()?;
    for name in HEAPS {
        ensure!(exists(name) == names.contains(&name.to_owned()), "{name}");
        if !exists(name) {
            continue;
        }
        let heap = Heap::open(name)?;
        // The second one is larger than what is left of any area of these tests.
        for size in [page_size(), of_areas()? + MIB, 3 * MIB + page_size()] {
            for _ in 0..2 {
                let buffer = heap
                    .allocate(size)
                    .with_context(|| format!("{name}: {size}"))?;
                let range = range(&buffer)?;
                ensure!(range.size == size as u64, "{name}: {size} at {range:x?}");
                let low = range.end() <= 1 << 32;
                ensure!(
                    low || !name.contains("dma32"),
                    "{name}: {size} at {range:x?}"
                );
                let mapping = buffer.map()?;
                mapping.check_zero()?;
                mapping.fill(Pattern(3), 0);
            }
        }
    }
    Ok(())
}

pub fn too_large() -> Result<()> {
    let heap = Heap::open("cma")?;
    for size in [of_areas()?.max(limit_beyond()?) + MIB, usize::MAX / 2] {
        let time = heap.refusal(size as u64)?;
        let limit = AT_ONCE * checkers::timeout_factor();
        ensure!(time < limit, "{size} bytes: failed after {time:?}");
    }
    Ok(())
}

// Page arrays of drivers are made of the same memory, and the node shows their addresses. A page
// that a driver holds is in nobody else's memory.
pub fn page_array() -> Result<()> {
    let allocator = Allocator::open()?;
    let size = of_areas()? + MIB;
    let array = allocator.pages(HEAP, Some("beyond"), size)?;
    let first = array.physical_address();
    let info = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    ensure!(info.contains(&format!("{first:x}")), "{first:x} in {info}");
    let held = first + 5 * page_size() as u64;
    allocator.hold(held)?;
    drop(array);
    let mut others = Vec::new();
    for _ in 0..3 {
        let array = allocator.pages(HEAP, None, size)?;
        let first = array.physical_address();
        ensure!(!(first..first + size as u64).contains(&held), "{first:x}");
        others.push(array);
        // Large ones come first: they may exceed the limit together.
        if of_areas()? + 2 * size > limit_beyond()? {
            break;
        }
    }
    Ok(allocator.let_go()?)
}

// All memory is back at once when a buffer is freed.
pub fn returned() -> Result<()> {
    let heap = Heap::open("cma")?;
    let size = of_areas()? + MIB;
    let tolerance = tolerance(size);
    let before = memory::free_and_reclaimable()?;
    for _ in 0..5 {
        let buffer = heap.allocate(size)?;
        let used = before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(used + tolerance > size, "{used} of {size} bytes are used");
        drop(buffer);
    }
    let lost = before.saturating_sub(memory::free_and_reclaimable()?);
    ensure!(lost < 2 * tolerance, "{lost} bytes are lost");
    Ok(())
}
