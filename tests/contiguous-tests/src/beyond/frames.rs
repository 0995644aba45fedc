// SPDX-License-Identifier: GPL-2.0

//! As many frames as the machine has to provide.

use super::files::Files;
use super::{
    allocate,
    limit_beyond,
    range,
    FRAME,
    MIB,
    SMALL_FRAME, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::pattern::Pattern;
use std::time::{
    Duration,
    Instant, //
};

/// Returns the sizes of the buffers that a heap has to provide together: 512 MiB of frames where
/// RAM permits it.
///
/// A machine of 128 MiB beside its programs provides 48 MiB, a quarter of it in smaller buffers.
/// Most page blocks of 8 MiB have memory of the kernel in them, so they cannot be taken as a whole,
/// and the page allocator has pieces of powers of two: each frame of 3 MiB takes one of 4 MiB and
/// leaves 1 MiB.
fn wanted_sizes() -> Result<Vec<usize>> {
    if memory::total()? < 256 * MIB {
        return Ok([[SMALL_FRAME; 12], [MIB; 12]].concat());
    }
    let frames = (512 * MIB).div_ceil(FRAME).min(limit_beyond()? / FRAME);
    Ok(vec![FRAME; frames])
}

/// Allocates as many frames as the machine has to provide. Each has to be there soon, and nobody is
/// killed.
pub fn take_frames(name: &str) -> Result<Vec<Buffer>> {
    let killed = memory::oom_kills()?;
    let heap = Heap::open(name)?;
    let (mut held, mut slowest) = (Vec::new(), Duration::ZERO);
    let start = Instant::now();
    for (number, size) in wanted_sizes()?.into_iter().enumerate() {
        let begin = Instant::now();
        let buffer = allocate(&heap, size).with_context(|| format!("frame {number}"))?;
        slowest = slowest.max(begin.elapsed());
        held.push(buffer);
    }
    diagnose(&format!(
        "{name}: {} buffers in {:?}, slowest {slowest:?}",
        held.len(),
        start.elapsed()
    ));
    ensure!(held.len() > 1, "the machine is too small for this test");
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    Ok(held)
}

pub fn frames(name: &str) -> Result<()> {
    let held = take_frames(name)?;
    let mut ranges = Vec::new();
    for (number, buffer) in held.iter().enumerate() {
        let mapping = buffer.map()?;
        mapping.check_zero()?;
        mapping.fill(Pattern(number as u64), 0);
        ranges.push(range(buffer)?);
    }
    for (number, buffer) in held.iter().enumerate() {
        buffer.map()?.check(Pattern(number as u64), 0)?;
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        ensure!(pair[0].end() <= pair[1].base, "{pair:x?} overlap");
    }
    Ok(())
}

// What is free lies between pages of files, which are migrated and keep their content.
pub fn frames_after_files() -> Result<()> {
    let files = Files::fill(memory::total()? / 12)?;
    files.thin_out()?;
    diagnose(&format!("{} MiB of files", files.count / 2));
    let held = take_frames("cma")?;
    for buffer in &held {
        buffer.map()?.check_zero()?;
    }
    drop(held);
    files.check()
}
