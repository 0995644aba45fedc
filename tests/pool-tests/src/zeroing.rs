// SPDX-License-Identifier: GPL-2.0

//! Memory is zeroed in every allocation, whatever its source is.

use crate::figures::Figures;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::client::{
    self,
    Client,
    View, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add_within(
        Duration::from_secs(240),
        "zeroing/ten-thousand-rounds",
        ten_thousand_rounds,
    );
}

const ROUNDS: usize = 10_000;
const THREADS: usize = 4;

/// Number of 1,000 rounds per range of sizes, in KiB. Large sizes are rare: in QEMU a round with
/// 32 MiB takes a second.
const SIZES: [(usize, usize, usize); 5] = [
    (600, 4, 16),
    (250, 16, 256),
    (130, 256, 1024),
    (17, 1024, 8192),
    (3, 8192, 32768),
];

fn random_size(random: &mut fastrand::Rng) -> usize {
    let mut choice = random.usize(0..1000);
    let size = SIZES
        .iter()
        .find(|(share, _, _)| match choice.checked_sub(*share) {
            Some(rest) => {
                choice = rest;
                false
            }
            None => true,
        });
    let (_, min, max) = size.unwrap_or(&SIZES[0]);
    let bytes = random.usize(*min << 10..=*max << 10);
    bytes.next_multiple_of(page_size()).min(32 * MIB)
}

/// The side from which a buffer is checked and filled.
#[derive(Clone, Copy, Debug)]
enum Side {
    Process,
    Kernel,
    Device,
}

const SIDES: [Side; 3] = [Side::Process, Side::Kernel, Side::Device];

/// Checks that the buffer is zero and fills it with a value that differs in each round.
fn check_and_fill(
    client: &Client,
    buffer: &Buffer,
    check: Side,
    fill: Side,
    seed: u64,
) -> Result<()> {
    let attachment = client.attach(buffer)?;
    for (side, is_check) in [(check, true), (fill, false)] {
        let value = seed as u8 | 1;
        match side {
            Side::Process => {
                let mapping = buffer.map()?;
                if is_check {
                    mapping.check_zero()?;
                } else {
                    mapping.fill(Pattern(seed), 0);
                }
                continue;
            }
            Side::Kernel => attachment.vmap()?,
            Side::Device => attachment.map(client::Direction::Both)?,
        }
        // Reads memory like a device that does not snoop the caches.
        let view = match side {
            Side::Kernel => View::Kernel,
            _ => View::Uncached,
        };
        if !is_check {
            attachment.fill(view, value)?;
        } else if let Some(offset) = attachment.find_nonzero(view)? {
            bail!("byte {offset:#x} is not zero");
        }
        match side {
            Side::Kernel => attachment.vunmap()?,
            _ => attachment.unmap()?,
        }
    }
    Ok(())
}

/// Returns the number of allocated bytes.
fn rounds(seed: u64, count: usize) -> Result<usize> {
    let client = Client::open()?;
    let heaps = HEAPS
        .map(Heap::open)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = 0;
    // Some buffers are held for a while, so that memory is freed in another order.
    let mut held = Vec::new();
    for round in 0..count {
        let index = random.usize(0..heaps.len());
        let size = random_size(&mut random);
        let (check, fill) = (SIDES[random.usize(0..3)], SIDES[random.usize(0..3)]);
        let what = || {
            format!(
                "{}, round {round} of thread {seed}, {size} bytes, by {check:?}",
                HEAPS[index]
            )
        };
        let buffer = heaps[index].allocate(size).with_context(what)?;
        check_and_fill(&client, &buffer, check, fill, random.u64(..)).with_context(what)?;
        bytes += size;
        held.push(buffer);
        if held.len() > 4 {
            held.swap_remove(random.usize(0..held.len()));
        }
    }
    Ok(bytes)
}

fn ten_thousand_rounds() -> Result<()> {
    client::load("")?;
    let module = Module::load("pool_max_percent=25")?;
    let count = checkers::rounds(ROUNDS);
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| std::thread::spawn(move || rounds(seed as u64, count / THREADS)))
        .collect();
    let mut bytes = 0;
    for thread in threads {
        bytes += thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    let total = Figures::settled()?;
    diagnose(&format!(
        "{count} rounds over {} MiB by {THREADS} threads: {} runs from the pools, {} not",
        bytes / MIB,
        total.hits,
        total.misses
    ));
    ensure!(
        total.hits > count / 2,
        "hardly any memory was reused: {total:?}"
    );
    ensure!(total.buffers == 0 && total.allocated == 0, "{total:?}");
    module.unload()
}
