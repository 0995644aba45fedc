// SPDX-License-Identifier: GPL-2.0

//! Fragmentation of a CMA area after random allocations and frees: the ratio of allocations that
//! fail although enough memory is free, and the largest possible allocation.

use crate::figure::{
    print_figure,
    MIB, //
};
use crate::side::Side;
use anyhow::Result;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::page_size;

const AREA: usize = 64 * MIB;
const FILL: usize = AREA / 10 * 8;
const OPERATIONS: usize = 10_000;
const SEED: u64 = 20_261_123;

/// Returns a size of 2^0 to 2^10 pages. The exponent is uniformly distributed.
fn random_size(random: &mut fastrand::Rng) -> usize {
    (random.f64() * 10.0).exp2() as usize * page_size()
}

pub fn measure(side: &Side) -> Result<()> {
    let node = match side.is_ours() {
        true => "rk-dma-heap-cma",
        false => side.contiguous_heap(),
    };
    let heap = Heap::open(node)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut live: Vec<(usize, Buffer)> = Vec::new();
    let (mut filled, mut operations) = (0, 0);
    let (mut attempts, mut failures) = (0, 0);
    while operations < OPERATIONS {
        let size = random_size(&mut random);
        while filled + size > FILL {
            let (freed, _) = live.swap_remove(random.usize(..live.len()));
            filled -= freed;
            operations += 1;
        }
        attempts += 1;
        operations += 1;
        match heap.allocate(size) {
            Ok(buffer) => {
                live.push((size, buffer));
                filled += size;
            }
            Err(_) => failures += 1,
        }
    }
    print_figure(
        "fragmentation-failures",
        0,
        f64::from(failures) / f64::from(attempts) * 100.0,
    );
    print_figure("fragmentation-filled", 0, filled as f64);
    print_figure("fragmentation-largest", 0, largest(&heap) as f64);
    Ok(())
}

/// Returns the size of the largest buffer that can be allocated.
fn largest(heap: &Heap) -> usize {
    let (mut fits, mut fails) = (0, AREA / page_size() + 1);
    while fits + 1 < fails {
        let pages = (fits + fails) / 2;
        match heap.allocate(pages * page_size()) {
            Ok(_) => fits = pages,
            Err(_) => fails = pages,
        }
    }
    fits * page_size()
}
