// SPDX-License-Identifier: GPL-2.0

//! Mistakes of drivers: each fails with one warning and has no effect.

use crate::areas;
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::allocator::{
    Allocator,
    Check,
    Mistake, //
};
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::Tests;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;

pub fn add(tests: &mut Tests) {
    tests.add("warnings/freed-wrongly", freed_wrongly);
    tests.add("warnings/unbalanced-puts", unbalanced_puts);
    tests.add(
        "warnings/pages-of-a-heap-in-pieces",
        pages_of_a_heap_in_pieces,
    );
}

fn warnings(log: &mut KernelLog) -> Result<usize> {
    let lines = log.messages()?;
    Ok(lines
        .iter()
        .filter(|line| line.contains("WARNING:"))
        .count())
}

// The first one is warned of, and none has an effect.
fn unbalanced_puts() -> Result<()> {
    let allocator = Allocator::open()?;
    let mut log = KernelLog::from_now_on()?;
    for _ in 0..2 {
        for heap in [HEAP, "rk-system-heap"] {
            allocator.check(Check::Puts(heap))?;
        }
    }
    let found = warnings(&mut log)?;
    ensure!(found == 1, "{found} warnings, expected one");
    allocator.pages(HEAP, None, page_size())?;
    Ok(())
}

fn freed_wrongly() -> Result<()> {
    let allocator = Allocator::open()?;
    let size = 8 * page_size();
    let array = allocator.pages(HEAP, Some("clumsy"), size)?;
    let neighbour = allocator.pages(HEAP, Some("neighbour"), size)?;
    let content = vec![0xa5; size];
    array.device_writes("ffa00000.rkisp", 0, &content)?;
    neighbour.device_writes("ffa00000.rkisp", 0, &content)?;
    let before = areas::all()?;
    let mut log = KernelLog::from_now_on()?;
    for mistake in [
        Mistake::Short,
        Mistake::Long,
        Mistake::SecondPage,
        Mistake::ForeignPage,
    ] {
        array.free_wrongly(mistake)?;
        let count = warnings(&mut log)?;
        ensure!(count == 1, "{mistake:?}: {count} warnings");
        ensure!(areas::all()? == before, "{mistake:?}: memory was freed");
        for array in [&array, &neighbour] {
            let mut found = vec![0; size];
            array.device_reads("ffa00000.rkisp", 0, &mut found)?;
            ensure!(found == content, "{mistake:?}: the content has changed");
        }
    }
    drop((array, neighbour));
    ensure!(
        warnings(&mut log)? == 0,
        "freed correctly, but there was a warning"
    );
    let freed: usize = areas::all()?.iter().map(|area| area.available).sum();
    let held: usize = before.iter().map(|area| area.available).sum();
    ensure!(freed - held == 2 * size);
    Ok(())
}

fn pages_of_a_heap_in_pieces() -> Result<()> {
    let allocator = Allocator::open()?;
    allocator.add_heap("system", false, false)?;
    let mut log = KernelLog::from_now_on()?;
    let answer = allocator.pages("system", None, page_size()).map(drop);
    expect_errno("pages of a heap that has none", answer, Errno::EINVAL)?;
    let count = warnings(&mut log)?;
    allocator.remove_heap()?;
    ensure!(count == 1, "{count} warnings");
    Ok(())
}
