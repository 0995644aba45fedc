// SPDX-License-Identifier: GPL-2.0

//! Memory for devices with 32 address bits, on a machine with more memory than they can address.

use crate::figures::Figures;
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Segment,
    View, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    skip,
    Tests, //
};
use guest_support::module::Module;
use guest_support::{
    memory,
    page_size, //
};
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("dma32/system-goes-above", system_goes_above);
    tests.add("dma32/not-from-another-pool", not_from_another_pool);
    tests.add_within(
        Duration::from_secs(120),
        "dma32/scarce-low-memory",
        scarce_low_memory,
    );
    tests.add("dma32/device-of-32-bits", device_of_32_bits);
}

const LIMIT: u64 = 1 << 32;
const HEAPS_32: [&str; 2] = ["system-dma32", "system-uncached-dma32"];

/// Returns the free bytes below and above 4 GiB.
fn free_below_and_above() -> Result<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let (mut below, mut above) = (0, 0);
    let mut is_low = false;
    for line in text.lines() {
        if let Some((_, zone)) = line.split_once(", zone") {
            is_low = zone.trim().starts_with("DMA");
        } else if let Some(pages) = line.trim().strip_prefix("pages free") {
            let bytes = pages.trim().parse::<usize>()? * page_size();
            *(if is_low { &mut below } else { &mut above }) += bytes;
        }
    }
    Ok((below, above))
}

/// Skips the test if the machine does not have enough memory above 4 GiB.
fn need_memory_above() -> Result<()> {
    let (_, above) = free_below_and_above()?;
    if above < 1 << 30 {
        return Err(skip("the machine has no 1 GiB of memory above 4 GiB"));
    }
    Ok(())
}

fn segments(client: &Client, buffer: &Buffer) -> Result<Vec<Segment>> {
    let segments = client.import(buffer)?.segments()?;
    let bytes: u64 = segments.iter().map(|segment| segment.length).sum();
    ensure!(
        bytes == buffer.size()? as u64,
        "the device has {bytes} bytes: {segments:x?}"
    );
    Ok(segments)
}

fn check_below(segments: &[Segment]) -> Result<()> {
    for segment in segments {
        ensure!(
            segment.physical_address + segment.length <= LIMIT
                && segment.dma_address + segment.length <= LIMIT,
            "not below 4 GiB: {segment:x?}"
        );
    }
    Ok(())
}

/// Checks that no page belongs to two buffers.
fn check_disjoint(mut segments: Vec<Segment>) -> Result<()> {
    segments.sort_by_key(|segment| segment.physical_address);
    for pair in segments.windows(2) {
        ensure!(
            pair[0].physical_address + pair[0].length <= pair[1].physical_address,
            "the same memory in two buffers: {pair:x?}"
        );
    }
    Ok(())
}

fn system_goes_above() -> Result<()> {
    need_memory_above()?;
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    for name in ["system", "system-uncached"] {
        let heap = Heap::open(name)?;
        for _ in 0..64 {
            let buffer = heap.allocate(MIB + 17 * page_size())?;
            for segment in segments(&client, &buffer)? {
                ensure!(
                    segment.physical_address >= LIMIT,
                    "{name} uses low memory while other memory is free: {segment:x?}"
                );
            }
        }
    }
    module.unload()
}

// Pages above 4 GiB from the pool of `system` must not be allocated here.
fn not_from_another_pool() -> Result<()> {
    need_memory_above()?;
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    for (name, other) in [
        ("system-dma32", "system"),
        ("system-uncached-dma32", "system-uncached"),
    ] {
        drop(Heap::open(other)?.allocate(32 * MIB)?);
        let heap = Heap::open(name)?;
        // First while the other heap's memory is on the backlog, then after it was prepared.
        check_below(&segments(&client, &heap.allocate(16 * MIB)?)?)?;
        let pooled = Figures::settled()?.pooled;
        ensure!(pooled >= 32 * MIB, "only {pooled} bytes are pooled");
        check_below(&segments(&client, &heap.allocate(16 * MIB)?)?)?;
    }
    module.unload()
}

/// Allocates low memory until ENOMEM. All of it must be low, and the OOM killer must not run.
fn exhaust(client: &Client, heap: &Heap) -> Result<Vec<Buffer>> {
    const PIECE: usize = 64 * MIB;
    let kills = memory::oom_kills()?;
    let held = heap.exhaust(PIECE)?;
    ensure!(memory::oom_kills()? == kills, "a process was killed");
    let mut all = Vec::new();
    for buffer in &held {
        all.extend(segments(client, buffer)?);
    }
    check_below(&all)?;
    check_disjoint(all)?;
    let (below, above) = free_below_and_above()?;
    diagnose(&format!(
        "{} MiB of low memory allocated until ENOMEM; {} MiB free below 4 GiB, {} above",
        held.len() * PIECE / MIB,
        below / MIB,
        above / MIB
    ));
    ensure!(above > 1 << 30, "memory above 4 GiB was used as well");
    Ok(held)
}

fn scarce_low_memory() -> Result<()> {
    const BUFFERS: usize = 500;
    need_memory_above()?;
    memory::lock_this_process()?;
    client::load("")?;
    let client = Client::open()?;
    // The pools are so small that most freed memory returns to the page allocator.
    let module = Module::load("pool_max_mib=16")?;
    let mut held = exhaust(&client, &Heap::open(HEAPS_32[0])?)?;
    held.truncate(held.len().saturating_sub(4));
    Figures::settled()?;
    let (below, above) = free_below_and_above()?;

    let heaps = HEAPS_32
        .map(Heap::open)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut random = fastrand::Rng::with_seed(4);
    let (mut buffers, mut all, mut bytes) = (Vec::new(), Vec::new(), 0);
    for number in 0..BUFFERS {
        let size = random.usize(1..=160) * page_size();
        let buffer = heaps[number % 2]
            .allocate(size)
            .with_context(|| format!("buffer {number} of {BUFFERS}"))?;
        all.extend(segments(&client, &buffer)?);
        buffers.push(buffer);
        bytes += size;
    }
    for buffer in &held {
        all.extend(segments(&client, buffer)?);
    }
    check_below(&all)?;
    check_disjoint(all)?;
    diagnose(&format!(
        "{BUFFERS} buffers of {} MiB in total; {} MiB free below 4 GiB, {} above",
        bytes / MIB,
        below / MIB,
        above / MIB
    ));
    // Heaps without the limit are not affected.
    let buffer = Heap::open("system")?.allocate(256 * MIB)?;
    let above = segments(&client, &buffer)?;
    ensure!(
        above
            .iter()
            .all(|segment| segment.physical_address >= LIMIT),
        "`system` uses low memory while it is scarce"
    );
    drop((buffer, buffers, held, heaps));
    module.unload()
}

// The purpose of these heaps: such a device accesses the memory itself, not a bounce buffer.
fn device_of_32_bits() -> Result<()> {
    need_memory_above()?;
    if client::is_loaded() {
        client::unload()?;
    }
    client::load("dma_bits=32")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    for name in HEAPS_32 {
        let buffer = Heap::open(name)?.allocate(32 * MIB)?;
        let segments = segments(&client, &buffer)?;
        check_below(&segments)?;
        // Without synchronization, a bounce buffer would not have the data.
        buffer.map()?.write(0, 0x1234);
        let view = match name.contains("uncached") {
            true => View::Uncached,
            false => View::Cached,
        };
        let mut word = [0; 8];
        client.import(&buffer)?.read(view, 0, &mut word)?;
        ensure!(
            u64::from_ne_bytes(word) == 0x1234,
            "{name}: the device has a bounce buffer"
        );
    }
    drop(client);
    client::unload()?;
    module.unload()
}
