// SPDX-License-Identifier: GPL-2.0

//! One buffer in several processes.

use crate::Case;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::dma_buf::{
    self,
    Buffer, //
};
use guest_support::heap::Heap;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use nix::sys::signal::Signal;
use std::os::fd::AsFd;
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("fork-inherits-mapping", fork_inherits_mapping),
    Case::new("pass-descriptor", pass_descriptor),
    Case::new("allocator-has-exited", allocator_has_exited),
    Case::new("in-flight-only", in_flight_only),
    Case::new("killed-holder-lets-go", killed_holder_lets_go),
];

fn size() -> usize {
    (256 + 16 + 3) * page_size()
}

fn fork_inherits_mapping(heap: &str) -> Result<()> {
    let mapping = Heap::open(heap)?.allocate(size())?.map()?;
    mapping.fill(Pattern(1), 0);
    Child::run(|| {
        mapping.check(Pattern(1), 0)?;
        mapping.fill(Pattern(2), 0);
        Ok(())
    })?
    .succeed()?;
    mapping.check(Pattern(2), 0)?;
    // The child's exit has no effect on the mapping: a second child can do the same.
    Child::run(|| mapping.check(Pattern(2), 0))?.succeed()
}

// Both processes have it mapped all the time; each one reads what the other has just written.
fn pass_descriptor(heap: &str) -> Result<()> {
    let (ours, theirs) = Channel::pair()?;
    let child = Child::run(move || {
        let buffer = Buffer::from(theirs.expect_fd("take")?);
        let mapping = buffer.map()?;
        drop(buffer);
        for round in 0..5 {
            theirs.expect("written")?;
            mapping.check(Pattern(2 * round), 0)?;
            mapping.fill(Pattern(2 * round + 1), 0);
            theirs.send("written", None)?;
        }
        Ok(())
    })?;
    let buffer = Heap::open(heap)?.allocate(size())?;
    let mapping = buffer.map()?;
    ours.send("take", Some(buffer.as_fd()))?;
    drop(buffer);
    for round in 0..5 {
        mapping.fill(Pattern(2 * round), 0);
        ours.send("written", None)?;
        ours.expect("written")?;
        mapping.check(Pattern(2 * round + 1), 0)?;
    }
    child.succeed()
}

fn allocator_has_exited(heap: &str) -> Result<()> {
    let (ours, theirs) = Channel::pair()?;
    let child = Child::run(|| {
        let buffer = Heap::open(heap)?.allocate(size())?;
        buffer.map()?.fill(Pattern(3), 0);
        theirs.send("take", Some(buffer.as_fd()))
    })?;
    let buffer = Buffer::from(ours.expect_fd("take")?);
    child.succeed()?;
    buffer.map()?.check(Pattern(3), 0)?;
    ensure!(buffer.info()?.count == 1, "{:?}", buffer.info()?);
    Ok(())
}

// Between sending and receiving, only the socket has a reference.
fn in_flight_only(heap: &str) -> Result<()> {
    let (ours, theirs) = Channel::pair()?;
    let before = dma_buf::totals()?.buffers;
    let buffer = Heap::open(heap)?.allocate(size())?;
    buffer.map()?.fill(Pattern(4), 0);
    ours.send("take", Some(buffer.as_fd()))?;
    drop(buffer);
    ensure!(dma_buf::totals()?.buffers == before + 1);
    Buffer::from(theirs.expect_fd("take")?)
        .map()?
        .check(Pattern(4), 0)?;

    // A buffer that is not received is released with the socket.
    let buffer = Heap::open(heap)?.allocate(size())?;
    ours.send("take", Some(buffer.as_fd()))?;
    drop(buffer);
    drop((ours, theirs));
    eventually(Duration::from_secs(2), || {
        let now = dma_buf::totals()?.buffers;
        ensure!(now == before, "{before} buffers before, now {now}");
        Ok(())
    })
}

fn killed_holder_lets_go(heap: &str) -> Result<()> {
    let before = dma_buf::totals()?;
    let (ours, theirs) = Channel::pair()?;
    let mut child = Child::run(move || {
        let heap = Heap::open(heap)?;
        let buffers: Vec<Buffer> = (0..20)
            .map(|_| heap.allocate(19 * page_size()))
            .collect::<Result<_>>()?;
        let mappings: Vec<_> = buffers.iter().map(Buffer::map).collect::<Result<_>>()?;
        theirs.send("holding", None)?;
        std::thread::sleep(2 * CHILD_TIMEOUT);
        drop((buffers, mappings));
        Ok(())
    })?;
    ours.expect("holding")?;
    let held = dma_buf::totals()?;
    ensure!(
        held.buffers == before.buffers + 20,
        "{before:?}, then {held:?}"
    );
    child.signal(Signal::SIGKILL)?;
    child.wait(CHILD_TIMEOUT)?;
    eventually(Duration::from_secs(2), || {
        let after = dma_buf::totals()?;
        ensure!(after == before, "{before:?} before, {after:?} after");
        Ok(())
    })
}
