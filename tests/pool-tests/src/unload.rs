// SPDX-License-Identifier: GPL-2.0

//! Unloading frees the pools and the backlog.

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
use guest_support::retry::eventually;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add("unload/full-pool", || unloads(0));
    tests.add("unload/full-pool-and-backlog", || unloads(200 * MIB));
}

const POOLED: usize = 200 * MIB;

/// One percent of the allocated memory, for slabs and page tables of the test itself.
const TOLERANCE: usize = 4 * MIB;

/// Allocates buffers of `bytes` in total from all heaps, some of them single pages.
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
    let before_unload = Figures::total()?;
    let start = Instant::now();
    module.unload().context("with a full pool")?;
    let elapsed = start.elapsed();

    diagnose(&format!(
        "{} KiB pooled and {} KiB on the backlog; unloading took {elapsed:?}",
        before_unload.pooled >> 10,
        before_unload.backlog >> 10
    ));
    // On a slow kernel the worker may be faster than the test.
    ensure!(
        checkers::enabled() || before_unload.backlog >= backlog / 4,
        "most of the backlog was prepared already: {before_unload:?}"
    );
    ensure!(
        before > full + POOLED / 2,
        "the pool does not reduce the free memory: {before} became {full}"
    );
    eventually(Duration::from_secs(2), || {
        let missing = before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(
            missing <= checkers::tolerated(TOLERANCE),
            "{} KiB are lost",
            missing >> 10
        );
        Ok(())
    })
}
