// SPDX-License-Identifier: GPL-2.0

//! Memory that somebody else isolates, removes and adds at the same time.

use super::{
    allocate,
    limit_beyond,
    range,
    FRAME,
    MIB,
    SMALL_FRAME, //
};
use crate::areas::Range;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::pattern::Pattern;
use guest_support::retry::eventually;
use nix::errno::Errno;
use std::fs;
use std::path::{
    Path,
    PathBuf, //
};
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::thread;
use std::time::{
    Duration,
    Instant, //
};

/// How long blocks are taken offline and online.
const TIME: Duration = Duration::from_secs(20);

/// The number of buffers that are held at a time.
const HELD: usize = 10;

const BLOCKS: &str = "/sys/devices/system/memory";

/// Returns the folders of the blocks of memory.
fn blocks() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(BLOCKS)?.map(|entry| Ok(entry?.path()));
    let folders: Vec<_> = entries.collect::<Result<_>>()?;
    let is_block = |path: &PathBuf| path.join("state").exists();
    Ok(folders.into_iter().filter(is_block).collect())
}

/// Returns the lowest address in blocks.
fn first_address<'a>(blocks: impl Iterator<Item = &'a PathBuf>) -> Result<u64> {
    let number = |path: &Path| -> Result<u64> {
        let text = fs::read_to_string(path)?;
        Ok(u64::from_str_radix(text.trim(), 16)?)
    };
    let size = number(&Path::new(BLOCKS).join("block_size_bytes"))?;
    let indices = blocks.map(|block| number(&block.join("phys_index")));
    let indices: Vec<_> = indices.collect::<Result<_>>()?;
    Ok(indices.into_iter().min().context("there is no block")? * size)
}

/// Takes one block after another offline and online again, until the `end`. Returns how many times.
/// The kernel refuses those with memory that cannot be moved, after it has isolated a part of them.
fn switch(blocks: &[PathBuf], end: &AtomicBool) -> Result<usize> {
    let mut count = 0;
    while !end.load(Ordering::Relaxed) {
        for block in blocks {
            if fs::write(block, "offline").is_ok() {
                count += 1;
                fs::write(block, "online").with_context(|| format!("{block:?} stays offline"))?;
            }
        }
    }
    Ok(count)
}

/// Allocates and frees frames. Returns how many times that succeeded and failed, and the longest
/// time.
fn use_frames() -> Result<(usize, usize, Duration)> {
    let heap = Heap::open("cma")?;
    let mut held: Vec<(u64, Buffer)> = Vec::new();
    let (mut number, mut refused, mut longest) = (0, 0, Duration::ZERO);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let size = [SMALL_FRAME, FRAME, FRAME][(number + refused) % 3];
        let start = Instant::now();
        match allocate(&heap, size) {
            Ok(buffer) => {
                buffer.map()?.check_zero()?;
                buffer.map()?.fill(Pattern(number as u64), 0);
                held.push((number as u64, buffer));
                number += 1;
            }
            Err(Errno::ENOMEM) => refused += 1,
            Err(errno) => bail!("{errno}"),
        }
        longest = longest.max(start.elapsed());
        if held.len() > HELD {
            let (number, buffer) = held.swap_remove(number % HELD);
            buffer.map()?.check(Pattern(number), 0)?;
        }
    }
    for (number, buffer) in held {
        buffer.map()?.check(Pattern(number), 0)?;
    }
    Ok((number, refused, longest))
}

/// Uses frames while `meanwhile` runs, which is told the end. Checks that requests are served soon
/// or fail soon. Returns what `meanwhile` does.
fn beside<T: Send>(meanwhile: impl FnOnce(&AtomicBool) -> Result<T> + Send) -> Result<T> {
    let end = AtomicBool::new(false);
    let (used, answer) = thread::scope(|scope| {
        let other = scope.spawn(|| meanwhile(&end));
        let used = use_frames();
        end.store(true, Ordering::Relaxed);
        (used, other.join())
    });
    let Ok(answer) = answer else {
        bail!("the other thread has failed");
    };
    let ((number, refused, longest), answer) = (used?, answer?);
    diagnose(&format!(
        "{number} frames, {refused} refused, longest {longest:?}"
    ));
    ensure!(number > 10 * refused, "{refused} of {number} were refused");
    ensure!(longest < Duration::from_secs(10), "{longest:?}");
    Ok(answer)
}

// Blocks are isolated, go and come back while ranges are taken. Nothing is corrupted or lost, and
// requests fail soon if at all.
pub fn isolated() -> Result<()> {
    let blocks: Vec<_> = blocks()?.iter().map(|block| block.join("state")).collect();
    let before = memory::free_and_reclaimable()?;
    let total = memory::total()?;
    let count = beside(|end| switch(&blocks, end))?;
    diagnose(&format!(
        "{count} times one of {} blocks went offline",
        blocks.len()
    ));
    ensure!(count > 0, "no block could be taken offline");
    ensure!(memory::total()? == total, "a block is missing");
    let after = memory::free_and_reclaimable()?;
    ensure!(
        after + super::tolerance(FRAME) * 4 > before,
        "{before} before, {after} after"
    );
    Ok(())
}

// RAM is added while ranges are taken. It serves the heaps, and the limit grows with RAM.
pub fn added() -> Result<()> {
    let present = blocks()?;
    let total = memory::total()?;
    let limit = limit_beyond()?;
    beside(|_| {
        thread::sleep(TIME / 4);
        kernel_module::probe("virtio_mem", &[])?;
        eventually(TIME / 4, || {
            let more = memory::total()?.saturating_sub(total);
            ensure!(more > 256 * MIB, "{more} bytes were added");
            Ok(())
        })
    })?;
    let start = first_address(blocks()?.iter().filter(|block| !present.contains(block)))?;
    ensure!(limit_beyond()? > limit + 64 * MIB, "too little was added");
    let heap = Heap::open("cma")?;
    let mut held: Vec<(Range, Buffer)> = Vec::new();
    while let Ok(buffer) = allocate(&heap, FRAME) {
        buffer.map()?.fill(Pattern(held.len() as u64), 0);
        held.push((range(&buffer)?, buffer));
    }
    let of_added = held.iter().filter(|(range, _)| range.base >= start).count();
    diagnose(&format!(
        "{} frames, {of_added} of them in memory that was added",
        held.len()
    ));
    ensure!(of_added > 0, "none is in memory that was added");
    ensure!(
        (held.len() + 1) * FRAME > limit_beyond()?,
        "{} frames are fewer than the limit permits",
        held.len()
    );
    for (number, (_, buffer)) in held.iter().enumerate() {
        buffer.map()?.check(Pattern(number as u64), 0)?;
    }
    Ok(())
}
