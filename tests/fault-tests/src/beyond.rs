// SPDX-License-Identifier: GPL-2.0

//! Ranges of RAM that contiguous heaps take on a machine without areas.

use crate::sites::{
    boxed,
    fail_each_allocation,
    Outcome, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::memory;
use nix::errno::Errno;

const HEAPS: [&str; 4] = ["cma", "cma-uncached", "cma-dma32", "rk-dma-heap-cma"];

/// Sizes from the page allocator, and one that is taken from other users.
const SIZES: [(&str, usize); 3] = [
    ("page", 4 << 10),
    ("small", (1 << 20) + (1 << 16)),
    ("large", 9 << 20),
];

pub fn add(tests: &mut Tests) {
    for heap in HEAPS {
        for (name, size) in SIZES {
            test(
                tests,
                format!("beyond/buffers/{name}/{heap}"),
                move || Heap::open(heap),
                move |heap| boxed(heap.allocate_with(&AllocationData::read_write(size as u64))),
            );
        }
    }
    for (name, size) in SIZES {
        test(
            tests,
            format!("beyond/pages/{name}"),
            Allocator::open,
            move |allocator| boxed(allocator.pages("rk-dma-heap-cma", Some("faulty"), size)),
        );
    }
}

/// Adds a test. Without an area all contiguous memory is RAM.
fn test<S>(
    tests: &mut Tests,
    name: String,
    prepare: impl Fn() -> Result<S> + Copy + 'static,
    run: impl for<'a> Fn(&'a S) -> Outcome<'a> + Copy + 'static,
) {
    tests.add(name, move || {
        ensure!(memory::meminfo("CmaTotal")? == 0, "there is an area");
        fail_each_allocation(&[Errno::ENOMEM], prepare, run)
    });
}
