// SPDX-License-Identifier: GPL-2.0

//! Unloading gives back what the pools hold, and what waits to get there.

use crate::figures::Figures;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::module::Module;
use guest_support::process::eventually;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add("unload/full-pool", || unloads(0));
    tests.add("unload/full-pool-and-backlog", || unloads(200 * MIB));
}

const POOLED: usize = 200 * MIB;

/// A hundredth of what is moved: slabs and page tables of the test itself come and go.
const TOLERANCE: usize = 4 * MIB;

/// Buffers of `bytes` in all, spread over all heaps; some of each are single pages.
fn allocate(bytes: usize) -> Result<Vec<Buffer>> {
    const SINGLE: usize = 64;
    let page = guest_support::page_size();
    let mut buffers = Vec::new();
    for name in HEAPS {
        let heap = Heap::open(name)?;
        buffers.push(heap.allocate(bytes / HEAPS.len() - SINGLE * page)?);
        for _ in 0..SINGLE {
            buffers.push(heap.allocate(page)?);
        }
    }
    Ok(buffers)
}

fn unloads(backlog: usize) -> Result<()> {
    const PARAMETERS: &str = "pool_max_percent=60";
    Module::load(PARAMETERS)?.unload()?;
    let before = memory::free_and_reclaimable()?;
    let module = Module::load(PARAMETERS)?;
    let held = match backlog {
        0 => Vec::new(),
        bytes => allocate(bytes)?,
    };
    drop(allocate(POOLED)?);
    let pooled = Figures::settled()?.pooled;
    ensure!(pooled == POOLED, "{pooled} of {POOLED} bytes are pooled");
    let full = memory::free()?;
    drop(held);
    let at_last = Figures::total()?;
    let start = Instant::now();
    module.unload().context("with a full pool")?;
    let took = start.elapsed();

    diagnose(&format!(
        "{} KiB pooled and {} KiB waiting; unloading took {took:?}",
        at_last.pooled >> 10,
        at_last.backlog >> 10
    ));
    // A slow kernel's worker may be ahead of a test.
    ensure!(
        checkers::enabled() || at_last.backlog >= backlog / 4,
        "most of the backlog was gone already: {at_last:?}"
    );
    ensure!(
        before > full + POOLED / 2,
        "a full pool did not show in the free memory: {before} became {full}"
    );
    eventually(Duration::from_secs(2), || {
        let missing = before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(
            missing <= checkers::tolerated(TOLERANCE),
            "{} KiB are gone",
            missing >> 10
        );
        Ok(())
    })
}
