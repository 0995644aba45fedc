// SPDX-License-Identifier: GPL-2.0

//! `rkheap peak`.

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
    // What was before the run counts for nothing.
    drop(heap.allocate(11 << 20)?);
    let _held = heap.allocate(2 << 20)?;
    let report = json("peak -- rkheap alloc system 1M --count 7 --hold 0")?;
    ensure!(number(&report, "before_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "after_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "peak_bytes")? == 9 << 20, "{report}");
    let ran = rkheap("peak -- rkheap alloc system 1M --count 3 --hold 0")?;
    ran.expect(0)?;
    ensure!(ran.stdout.contains("\npeak: 5 MiB\n"), "{ran:?}");
    Ok(())
}

fn command_fails() -> Result<()> {
    rkheap("peak -- false")?.expect(5)?.says("exit status 1")?;
    rkheap("peak -- /none")?.expect(5)?.says("cannot run /none")
}
