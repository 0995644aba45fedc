// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap peak`.

use crate::program::{
    json,
    number,
    rkheap, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;

pub fn add(tests: &mut Tests) {
    tests.add("peak/what-a-command-takes", what_a_command_takes);
    tests.add("peak/command-fails", command_fails);
}

fn what_a_command_takes() -> Result<()> {
    let heap = Heap::open("system")?;
    // Allocations before the run do not count.
    drop(heap.allocate(11 << 20)?);
    let _held = heap.allocate(2 << 20)?;
    let report = json("peak -- rkheap alloc system 1M --count 7 --hold 0")?;
    ensure!(number(&report, "before_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "after_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "peak_bytes")? == 9 << 20, "{report}");
    let output = rkheap("peak -- rkheap alloc system 1M --count 3 --hold 0")?;
    output.expect(0)?;
    ensure!(output.stdout.contains("\npeak: 5 MiB\n"), "{output:?}");
    Ok(())
}

fn command_fails() -> Result<()> {
    rkheap("peak -- false")?
        .expect(5)?
        .reports("exit status 1")?;
    rkheap("peak -- /none")?
        .expect(5)?
        .reports("cannot run /none")
}
