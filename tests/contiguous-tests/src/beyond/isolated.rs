// SPDX-License-Identifier: GPL-2.0

//! Memory that somebody else isolates, removes and adds at the same time.

use super::{
    allocate,
    FRAME,
    SMALL_FRAME, //
};
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::pattern::Pattern;
use nix::errno::Errno;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool,
    AtomicUsize,
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

/// Returns the files that switch blocks of memory offline and online.
fn blocks() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/sys/devices/system/memory")?;
    let states = entries.map(|entry| Ok(entry?.path().join("state")));
    let states: Vec<_> = states.collect::<Result<_>>()?;
    Ok(states.into_iter().filter(|path| path.exists()).collect())
}

/// Takes one block after another offline, and online again. The kernel refuses those with memory
/// that cannot be moved, after it has isolated a part of them.
fn switch(blocks: &[PathBuf], end: &AtomicBool, count: &AtomicUsize) -> Result<()> {
    while !end.load(Ordering::Relaxed) {
        for block in blocks {
            if fs::write(block, "offline").is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
                fs::write(block, "online").with_context(|| format!("{block:?} stays offline"))?;
            }
        }
    }
    Ok(())
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

// Blocks are isolated, go and come back while ranges are taken. Nothing is corrupted or lost, and
// requests fail soon if at all.
pub fn isolated() -> Result<()> {
    let blocks = blocks()?;
    let before = memory::free_and_reclaimable()?;
    let total = memory::total()?;
    let (end, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (number, refused, longest) = thread::scope(|scope| -> Result<_> {
        let switching = scope.spawn(|| switch(&blocks, &end, &count));
        let used = use_frames();
        end.store(true, Ordering::Relaxed);
        match switching.join() {
            Ok(switched) => switched?,
            Err(_) => bail!("the thread that switches blocks has failed"),
        }
        used
    })?;
    let count = count.into_inner();
    diagnose(&format!(
        "{number} frames, {refused} refused, longest {longest:?}; {count} of {} blocks offline",
        blocks.len()
    ));
    ensure!(count > 0, "no block could be taken offline");
    ensure!(number > 10 * refused, "{refused} of {number} were refused");
    ensure!(longest < Duration::from_secs(10), "{longest:?}");
    ensure!(memory::total()? == total, "a block is missing");
    let after = memory::free_and_reclaimable()?;
    ensure!(
        after + super::tolerance(FRAME) * 4 > before,
        "{before} before, {after} after"
    );
    Ok(())
}
