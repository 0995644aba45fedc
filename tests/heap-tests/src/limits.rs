// SPDX-License-Identifier: GPL-2.0

//! Requests that cannot be met: too large, no memory, no descriptor, no time.

use crate::capacity::Capacity;
use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::diagnose;
use guest_support::mapping::WORD;
use guest_support::memory;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    Verdict, //
};
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
use nix::sys::signal::Signal;
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

fn three_quarters_of_the_largest(heap: &str) -> Result<()> {
    let capacity = Capacity::of(heap)?;
    let size = capacity.largest.min(capacity.unused) / 4 * 3;
    let buffer = Heap::open(heap)?.allocate(size)?;
    let mapping = buffer.map()?;
    let pattern = Pattern(1);
    // A prime number of pages, so that in time every place within a piece is met.
    let places = (0..mapping.len()).step_by(61 * page_size());
    for offset in places.clone() {
        mapping.check_zero_range(offset, page_size())?;
        mapping.write(offset, pattern.word(offset));
    }
    for offset in places {
        mapping.check_range(offset, WORD, pattern, 0)?;
    }
    Ok(())
}

/// However long it may take to see that a request is hopeless, when nothing is allocated on the
/// way.
const AT_ONCE: Duration = Duration::from_millis(250);

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
        // The last whole page: rounding does not wrap here.
        u64::MAX - page + 1,
    ];
    for len in lengths {
        let start = Instant::now();
        let answer = heap.allocate_with(&AllocationData::read_write(len));
        let elapsed = start.elapsed();
        expect_errno(format!("{len:#x} bytes"), answer, Errno::ENOMEM)?;
        ensure!(
            elapsed < AT_ONCE,
            "{len:#x} bytes: took {elapsed:?} to refuse"
        );
    }
    ensure!(
        memory::oom_kills()? == kills,
        "a process was killed for want of memory"
    );
    before.check_unchanged()
}

fn no_free_descriptor(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let before = Footprint::now()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Nothing above the next descriptor is open in this process, so that one is the first not
    // allowed.
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

/// How many processes are started, one by one, when all memory is handed out.
const PROCESSES: usize = 4;

fn out_of_memory(heap: &str) -> Result<()> {
    let capacity = Capacity::of(heap)?;
    let heap = Heap::open(heap)?;
    // This process needs memory too when there is none: for its own pages, and to list what it
    // holds.
    memory::lock_this_process()?;
    let kills = memory::oom_kills()?;
    let before = Footprint::now()?;
    // A power of two, so that no heap loses anything to alignment.
    let piece = 1 << (capacity.total / 64).ilog2();
    let most = capacity.total / piece;
    let mut held = Vec::with_capacity(most);
    let refusal = loop {
        match heap.allocate_with(&AllocationData::read_write(piece as u64)) {
            Ok(buffer) if held.len() < most => held.push(buffer),
            Ok(_) => anyhow::bail!("more than all memory was handed out"),
            Err(errno) => break errno,
        }
    };
    let got = held.len();
    // What is left by then goes to smaller ones, until the kernel has no page for what it needs
    // itself to make a buffer.
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
    // A process can be started all the same.
    for _ in 0..PROCESSES {
        Child::run(|| Ok(()))?.succeed()?;
    }
    drop(held);
    ensure!(
        refusal == Errno::ENOMEM,
        "failed with {refusal:?}, expected ENOMEM"
    );
    diagnose(&format!("{got} times {piece} bytes fitted"));
    // Elsewhere there are programs too, and what they touch meanwhile.
    let least = if capacity.set_aside {
        capacity.unused / 4 * 3
    } else {
        capacity.unused / 2
    };
    ensure!(
        got * piece >= least,
        "refused after {got} times {piece} bytes, expected at least {least} bytes"
    );
    ensure!(
        memory::oom_kills()? == kills,
        "a process was killed for want of memory"
    );
    before.check_unchanged()
}

fn killed_while_allocating(heap: &str) -> Result<()> {
    const ROUNDS: u32 = 16;
    // A busy machine may not let a child get far in the time that it is given; then it is given
    // more.
    const MOST: u32 = 10 * ROUNDS;
    let len = Capacity::of(heap)?.large_request();
    let heap = Heap::open(heap)?;
    let start = Instant::now();
    drop(heap.allocate(len)?);
    let whole = start.elapsed();

    let interrupted = FailedIoctls::with(Errno::EINTR)?;
    let before = Footprint::now()?;
    let mut rounds = 0;
    while rounds < ROUNDS || (interrupted.count()? == 0 && rounds < MOST) {
        let mut child = Child::run(|| loop {
            drop(heap.allocate(len)?);
        })?;
        // All over the time that one allocation takes, after a moment for the child to get there.
        let moment = Duration::from_millis(5) * (1 + rounds / ROUNDS);
        std::thread::sleep(moment + whole * (rounds % ROUNDS) / ROUNDS);
        child.signal(Signal::SIGKILL)?;
        let verdict = child
            .wait(Duration::from_secs(20))?
            .context("does not die")?;
        ensure!(verdict == Verdict::Killed(Signal::SIGKILL), "{verdict:?}");
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
        "no kill hit an allocation, or it did not end with EINTR"
    );
    Ok(())
}
