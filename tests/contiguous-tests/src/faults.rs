// SPDX-License-Identifier: GPL-2.0

//! A user mapping of contiguous memory is populated in large steps, not page by page.

use anyhow::{
    ensure,
    Result, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::page_size;
use nix::sys::resource::{
    getrusage,
    UsageWho, //
};

const SIZE: usize = 16 << 20;

/// One fault per 2 MiB.
const MAX_FAULTS: i64 = (SIZE >> 21) as i64;

pub fn add(tests: &mut Tests) {
    tests.add("faults/first-write", first_write);
}

fn faults() -> Result<i64> {
    #[allow(clippy::unnecessary_cast)] // 32 bits wide on some architectures
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults() as i64)
}

fn first_write() -> Result<()> {
    // Touches the pages of this process that the call itself needs.
    faults()?;
    for name in heap::names()?
        .iter()
        .filter(|name| !name.starts_with("system"))
    {
        let heap = Heap::open(name)?;
        let Ok(buffer) = heap.allocate(SIZE) else {
            diagnose(&format!("{name} is too small for {} MiB", SIZE >> 20));
            continue;
        };
        let before = faults()?;
        let mapping = buffer.map()?;
        for offset in (0..SIZE).step_by(page_size()) {
            mapping.write(offset, 1);
        }
        let count = faults()? - before;
        diagnose(&format!("{name}: {count} faults"));
        ensure!(
            count <= MAX_FAULTS,
            "{name}: {count} faults, expected at most {MAX_FAULTS}"
        );
    }
    Ok(())
}
