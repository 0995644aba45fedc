// SPDX-License-Identifier: GPL-2.0

//! Calls of the operations of a driver's heap that is being added or removed.

use super::node;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    Allocator,
    Check,
    HeapOptions, //
};
use guest_support::checkers;
use guest_support::expect_errno;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::retry::eventually;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("drivers/calls-in-flight", calls_in_flight);
    tests.add("drivers/opened-at-once", opened_at_once);
    tests.add("drivers/removed-under-a-call", removed_under_a_call);
}

/// How long an operation lasts: longer than all that a test does meanwhile.
const CALL: Duration = Duration::from_secs(5);

/// Adds a heap whose allocations take [`CALL`], and opens its node.
fn slow_heap(allocator: &Allocator, name: &str) -> Result<Heap> {
    let delay = CALL * checkers::timeout_factor();
    let options = HeapOptions {
        contiguous: true,
        delay_ms: delay.as_millis().try_into()?,
        ..HeapOptions::default()
    };
    allocator.add_heap_with(name, options)?;
    Heap::open_path(&node(name), OFlag::O_RDONLY)
}

fn calls_in_flight() -> Result<()> {
    const NAME: &str = "slow-heap";
    let allocator = Allocator::open()?;
    let heap = slow_heap(&allocator, NAME)?;
    std::thread::scope(|scope| {
        let call = scope.spawn(|| heap.allocate_with(&AllocationData::read_write(1)).map(drop));
        eventually(CALL, || {
            ensure!(allocator.describe(NAME)?.buffers == 1);
            Ok(())
        })?;
        allocator
            .remove_heap()
            .context("an operation was running when the put returned")?;
        let answer = call.join().map_err(|_| anyhow::anyhow!("panicked"))?;
        answer.context("the call that was in flight")
    })?;
    let answer = heap.allocate_with(&AllocationData::read_write(1));
    expect_errno("an open node", answer.map(drop), Errno::ENODEV)
}

// A program waits for the node of a heap and allocates as soon as it exists. The operation finds
// its heap.
fn opened_at_once() -> Result<()> {
    const NAME: &str = "awaited-heap";
    let allocator = Allocator::open()?;
    for round in 0..checkers::rounds(100) {
        let waits = AtomicBool::new(true);
        let answer = std::thread::scope(|scope| {
            let program = scope.spawn(|| {
                while waits.load(Ordering::Relaxed) {
                    if let Ok(heap) = Heap::open_path(&node(NAME), OFlag::O_RDONLY) {
                        return heap
                            .allocate_with(&AllocationData::read_write(1))
                            .map(drop)
                            .context("the new node");
                    }
                }
                Ok(())
            });
            let added = allocator.add_heap(NAME, true, false);
            if added.is_err() {
                waits.store(false, Ordering::Relaxed);
            }
            let answer = program.join().map_err(|_| anyhow::anyhow!("panicked"))?;
            added?;
            answer
        });
        allocator.remove_heap()?;
        answer.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

// A heap is removed while its operation runs, and another one is added meanwhile. The operation
// finds its heap until it ends.
fn removed_under_a_call() -> Result<()> {
    const NAME: &str = "left-heap";
    let allocator = Allocator::open()?;
    let other = Allocator::open()?;
    let heap = slow_heap(&allocator, NAME)?;
    std::thread::scope(|scope| {
        let call = scope.spawn(|| heap.allocate_with(&AllocationData::read_write(1)).map(drop));
        eventually(CALL, || {
            ensure!(allocator.describe(NAME)?.buffers == 1);
            Ok(())
        })?;
        let removal = scope.spawn(|| allocator.remove_heap());
        eventually(CALL, || {
            ensure!(!node(NAME).exists(), "the node still exists");
            Ok(())
        })?;
        other.check(Check::PassingHeap("passing-heap"))?;
        ensure!(!call.is_finished(), "the operation has ended too early");
        let answer = call.join().map_err(|_| anyhow::anyhow!("panicked"))?;
        answer.context("the operation lost its heap")?;
        let removed = removal.join().map_err(|_| anyhow::anyhow!("panicked"))?;
        removed.context("the removal")
    })
}
