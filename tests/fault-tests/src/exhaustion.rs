// SPDX-License-Identifier: GPL-2.0

//! Exhaustion of contiguous memory.

use anyhow::{
    ensure,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use nix::errno::Errno;

pub fn add(tests: &mut Tests) {
    for heap in ["cma", "cma-uncached", "rk-dma-heap-cma"] {
        tests.add(format!("exhausted/{heap}"), move || exhausted(heap));
    }
}

fn exhausted(name: &str) -> Result<()> {
    let heap = Heap::open(name)?;
    let mut rounds = [0; 3];
    for round in &mut rounds {
        let mut buffers = Vec::new();
        let data = AllocationData::read_write(1 << 20);
        let errno = loop {
            match heap.allocate_with(&data) {
                Ok(buffer) => buffers.push(buffer),
                Err(errno) => break errno,
            }
        };
        expect_errno::<()>("the last allocation", Err(errno), Errno::ENOMEM)?;
        *round = buffers.len();
    }
    diagnose(&format!("{rounds:?} buffers of 1 MiB"));
    ensure!(
        rounds
            .iter()
            .all(|round| *round > 0 && round.abs_diff(rounds[0]) <= 1),
        "the number of buffers until exhaustion changes: {rounds:?}"
    );
    Ok(())
}
