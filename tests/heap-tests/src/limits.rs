// SPDX-License-Identifier: GPL-2.0

//! Requests that cannot be satisfied: too large, no memory, no descriptor, or interrupted.

use crate::capacity::Capacity;
use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::checkers;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::diagnose;
use guest_support::mapping::WORD;
use guest_support::memory;
use guest_support::pattern::Pattern;
use guest_support::process::Child;
use guest_support::tracing::FailedIoctls;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::resource::{
    getrlimit,
    setrlimit,
    Resource, //
};
use std::os::fd::AsRawFd;
use std::time::{
    Duration,
    Instant, //
};

pub const CASES: &[Case] = &[
    Case::new(
        "three-quarters-of-the-largest",
        three_quarters_of_the_largest,
    ),
    Case::new("over-the-largest", over_the_largest),
    Case::new("no-free-descriptor", no_free_descriptor),
    Case::new("out-of-memory", out_of_memory),
    Case::new("killed-while-allocating", killed_while_allocating).within(120),
];

/// Memory that the page allocator and the heaps may leave free on a small machine, in bytes: twice
/// the watermark high after fragmentation, two blocks of 4 MiB for atomic allocations, and a 64th
/// of RAM.
const KERNEL_RESERVE: usize = 16 << 20;

fn three_quarters_of_the_largest(heap: &str) -> Result<()> {
    let capacity = Capacity::of(heap)?;
    let kept = if capacity.reserved { 0 } else { KERNEL_RESERVE };
    let size = (capacity.largest.min(capacity.unused) / 4 * 3)
        .min(capacity.unused.saturating_sub(kept))
        .next_multiple_of(page_size());
    let buffer = Heap::open(heap)?.allocate(size)?;
    let mapping = buffer.map()?;
    let pattern = Pattern(1);
    // The step is a prime number of pages, so that all offsets within a run are tested over time.
    let offsets = (0..mapping.len()).step_by(61 * page_size());
    for offset in offsets.clone() {
        mapping.check_zero_range(offset, page_size())?;
        mapping.write(offset, pattern.word(offset));
    }
    for offset in offsets {
        mapping.check_range(offset, WORD, pattern, 0)?;
    }
    Ok(())
}

/// Maximum time for rejecting an impossible request, for which nothing may be allocated.
const MAX_REJECTION_TIME: Duration = Duration::from_millis(250);

fn over_the_largest(heap: &str) -> Result<()> {
    let largest = Capacity::of(heap)?.largest as u64;
    let heap = Heap::open(heap)?;
    let page = page_size() as u64;
    let total = memory::total()? as u64;
    let kills = memory::oom_kills()?;
    let before = Footprint::now()?;
    let lengths = [
        largest.next_multiple_of(page) + page,
        largest / 4 * 5,
        total - page,
        total,
        2 * total,
        1 << 40,
        1 << 47,
        (1 << 47) + 1,
        i64::MAX as u64 - page,
        1 << 63,
        u64::MAX - 2 * page,
        // The last multiple of the page size: rounding does not wrap.
        u64::MAX - page + 1,
    ];
    for len in lengths {
        let elapsed = heap.refusal(len)?;
        ensure!(
            elapsed < MAX_REJECTION_TIME * checkers::timeout_factor(),
            "{len:#x} bytes: rejected after {elapsed:?}"
        );
    }
    ensure!(
        memory::oom_kills()? == kills,
        "the OOM killer has killed a process"
    );
    before.check_unchanged()
}

fn no_free_descriptor(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let before = Footprint::now()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // No descriptor above the next one is open in this process, so that one is the first beyond the
    // limit.
    let next = nix::unistd::dup(&heap)?.as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, next as _, hard)?;
    let answers: Vec<_> = (0..64)
        .map(|_| heap.allocate_with(&AllocationData::read_write(1 << 20)))
        .collect();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    for answer in answers {
        expect_errno("no descriptor is free", answer, Errno::EMFILE)?;
    }
    before.check_unchanged()?;
    heap.allocate(1).map(drop)
}

/// Number of processes that are started, one by one, when all memory is allocated.
const PROCESSES: usize = 4;

fn out_of_memory(heap: &str) -> Result<()> {
    let capacity = Capacity::of(heap)?;
    let heap = Heap::open(heap)?;
    // This process also needs memory then, for its own pages and for the list of buffers.
    memory::lock_this_process()?;
    let kills = memory::oom_kills()?;
    let before = Footprint::now()?;
    // A power of two, so that heaps lose no memory to alignment.
    let piece = 1 << (capacity.total / 64).ilog2();
    let max = capacity.total / piece;
    let mut held = Vec::with_capacity(max);
    let refusal = loop {
        match heap.allocate_with(&AllocationData::read_write(piece as u64)) {
            Ok(buffer) if held.len() < max => held.push(buffer),
            Ok(_) => anyhow::bail!("more than the total memory was allocated"),
            Err(errno) => break errno,
        }
    };
    let got = held.len();
    // Allocates the rest in smaller buffers, until the kernel cannot allocate its own structures
    // for a buffer.
    for size in [piece / 32, 8 * page_size(), page_size()] {
        let end = loop {
            match heap.allocate_with(&AllocationData::read_write(size as u64)) {
                Ok(buffer) => held.push(buffer),
                Err(errno) => break errno,
            }
        };
        ensure!(
            matches!(end, Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE),
            "{size} bytes failed with {end:?}"
        );
    }
    // Processes can still be started.
    for _ in 0..PROCESSES {
        Child::run(|| Ok(()))?.succeed()?;
    }
    drop(held);
    ensure!(
        refusal == Errno::ENOMEM,
        "failed with {refusal:?}, expected ENOMEM"
    );
    diagnose(&format!("{got} buffers of {piece} bytes were allocated"));
    // Memory that is not reserved is also used by programs during the test.
    let min = if capacity.reserved {
        capacity.unused / 4 * 3
    } else {
        capacity.unused / 2
    };
    ensure!(
        got * piece >= min,
        "ENOMEM after {got} buffers of {piece} bytes, expected at least {min} bytes"
    );
    ensure!(
        memory::oom_kills()? == kills,
        "the OOM killer has killed a process"
    );
    before.check_unchanged()
}

fn killed_while_allocating(heap: &str) -> Result<()> {
    const ROUNDS: u32 = 16;
    // On a busy machine a child may not start its allocation in the given time; then the time is
    // increased.
    const MAX_ROUNDS: u32 = 10 * ROUNDS;
    let len = Capacity::of(heap)?.large_request();
    let heap = Heap::open(heap)?;
    let start = Instant::now();
    drop(heap.allocate(len)?);
    let whole = start.elapsed();

    let interrupted = FailedIoctls::with(Errno::EINTR)?;
    let before = Footprint::now()?;
    let mut rounds = 0;
    while rounds < ROUNDS || (interrupted.count()? == 0 && rounds < MAX_ROUNDS) {
        let mut child = Child::run(|| loop {
            drop(heap.allocate(len)?);
        })?;
        // Spreads the kills over the time of one allocation, after a delay for the child's start.
        let delay = Duration::from_millis(5) * (1 + rounds / ROUNDS);
        std::thread::sleep(delay + whole * (rounds % ROUNDS) / ROUNDS);
        child.kill(Duration::from_secs(20))?;
        rounds += 1;
    }
    let hits = interrupted.count()?;
    diagnose(&format!(
        "{hits} of {rounds} kills interrupted an allocation of {} MiB, which takes {whole:?}",
        len >> 20
    ));
    before.check_unchanged()?;
    ensure!(
        hits > 0,
        "no kill interrupted an allocation, or it did not fail with EINTR"
    );
    Ok(())
}
