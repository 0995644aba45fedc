// SPDX-License-Identifier: GPL-2.0

//! Many allocations one after another, and in several processes at the same time: nothing may be
//! lost, and no page may belong to two buffers.
//!
//! All heaps are tested together, because they may share memory and pools.

use crate::footprint::{
    Footprint,
    MEMORY_NOISE, //
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
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    Verdict, //
};
use std::time::Duration;

pub fn add(tests: &mut Tests, heaps: &[String]) {
    let limit = Duration::from_secs(180);
    let names = heaps.to_vec();
    tests.add_within(limit, "heaps/endure/ten-thousand-rounds", move || {
        ten_thousand_rounds(&names)
    });
    let names = heaps.to_vec();
    tests.add_within(limit, "heaps/endure/four-processes", move || {
        four_processes(&names)
    });
}

fn open(names: &[String]) -> Result<Vec<Heap>> {
    names.iter().map(|name| Heap::open(name)).collect()
}

/// Returns a size from one page to 4 MiB, logarithmically distributed with a preference for small
/// sizes, and rarely a power of two.
fn random_size(random: &mut fastrand::Rng) -> usize {
    const LARGEST: usize = 2 << 20;
    let largest = random.u32(0..=(LARGEST / page_size()).ilog2());
    let pages = 1 << random.u32(0..=largest);
    page_size() * (pages + random.usize(0..pages))
}

fn rounds(heaps: &[Heap], count: usize, random: &mut fastrand::Rng) -> Result<usize> {
    let mut bytes = 0;
    // Some buffers are held for a while, so that memory is freed in another order.
    let mut held: Vec<Buffer> = Vec::new();
    for _ in 0..count {
        let size = random_size(random);
        bytes += size;
        let buffer = heaps[random.usize(0..heaps.len())].allocate(size)?;
        if random.u8(0..4) == 0 {
            let mapping = buffer.map()?;
            ensure!(
                mapping.read(size - 8) == 0,
                "the last word of a new buffer is not zero"
            );
            mapping.write(size - 8, 1);
        }
        held.push(buffer);
        if held.len() > 8 {
            held.swap_remove(random.usize(0..held.len()));
        }
    }
    Ok(bytes)
}

// The tolerance is exceeded if one page of 4 KiB is lost in every fortieth round.
fn ten_thousand_rounds(names: &[String]) -> Result<()> {
    let count = checkers::rounds(10_000);
    let heaps = open(names)?;
    let mut random = fastrand::Rng::with_seed(1);
    // Caches of the kernel fill up in the first rounds; that is not a leak.
    rounds(&heaps, 500, &mut random)?;
    let before = Footprint::now()?;
    let memory_before = memory::free_and_reclaimable()?;
    let bytes = rounds(&heaps, count, &mut random)?;
    before.check_unchanged()?;
    let change = memory::free_and_reclaimable()? as i64 - memory_before as i64;
    diagnose(&format!(
        "{count} rounds over {} MiB changed the free memory by {} KiB; {} KiB are tolerated",
        bytes >> 20,
        change / 1024,
        MEMORY_NOISE >> 10
    ));
    Ok(())
}

// Each process checks its own content. A page that belongs to two of them has the content of the
// other one.
fn four_processes(names: &[String]) -> Result<()> {
    let before = Footprint::now()?;
    let children: Vec<Child> = (0..4)
        .map(|number| {
            let names = names.to_vec();
            Child::run(move || {
                let heaps = open(&names)?;
                let mut random = fastrand::Rng::with_seed(number);
                for round in 0..checkers::rounds(250) as u64 {
                    let pattern = Pattern(number * 1000 + round);
                    let mut mappings = Vec::new();
                    for _ in 0..3 {
                        let heap = &heaps[random.usize(0..heaps.len())];
                        let mapping = heap.allocate(random_size(&mut random))?.map()?;
                        mapping.check_zero()?;
                        mapping.fill(pattern, 0);
                        mappings.push(mapping);
                    }
                    for mapping in &mappings {
                        mapping.check(pattern, 0)?;
                    }
                }
                Ok(())
            })
        })
        .collect::<Result<_>>()?;
    for mut child in children {
        let verdict = child
            .wait(Duration::from_secs(100))?
            .context("a process does not finish")?;
        ensure!(verdict == Verdict::Passed, "{verdict:?}");
    }
    before.check_unchanged()
}
