// SPDX-License-Identifier: GPL-2.0

//! The kernel uses an area for movable pages, and migrates them when a heap allocates.

use crate::areas;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::process::Child;
use std::fs::File;
use std::io::{
    Read,
    Write, //
};
use std::path::{
    Path,
    PathBuf, //
};
use std::time::Duration;

const PIECE: usize = 1 << 20;

pub fn add(tests: &mut Tests) {
    tests.add_within(
        Duration::from_secs(180),
        "migration/busy-page-cache",
        busy_page_cache,
    );
}

/// Returns the content of one piece of a file.
fn piece(number: usize) -> Vec<u8> {
    (0..PIECE)
        .map(|offset| (offset / 7 + number * 13) as u8)
        .collect()
}

fn check(path: &Path, pieces: usize) -> Result<()> {
    let mut file = File::open(path)?;
    let mut found = vec![0; PIECE];
    for number in 0..pieces {
        file.read_exact(&mut found)?;
        ensure!(
            found == piece(number),
            "piece {number} of the file has changed"
        );
    }
    Ok(())
}

/// Removes the file on drop.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn busy_page_cache() -> Result<()> {
    let total = memory::meminfo("CmaTotal")?;
    let start = areas::free()?;
    let scratch = Scratch(PathBuf::from("/tmp/page-cache"));
    let mut file = File::create(&scratch.0)?;
    let mut pieces = 0;
    // Fills half of the area with the file, unless memory runs out.
    while areas::free()? > start / 2 && memory::meminfo("MemFree")? > 24 * PIECE {
        file.write_all(&piece(pieces))?;
        pieces += 1;
    }
    drop(file);
    let filled = start - areas::free()?.min(start);
    diagnose(&format!(
        "a file of {pieces} MiB has {} KiB of {} KiB in the area",
        filled >> 10,
        total >> 10
    ));
    ensure!(filled >= total / 4, "the page cache does not use the area");

    // A reader uses the pages all the time.
    let mut reader = Child::run({
        let path = scratch.0.clone();
        move || loop {
            check(&path, pieces)?;
        }
    })?;
    let heap = Heap::open("cma")?;
    let size = total / 4 * 3;
    let mut held = Vec::new();
    let mut got = 0;
    while got < size {
        held.push(
            heap.allocate(4 * PIECE)
                .with_context(|| format!("after {got} bytes"))?,
        );
        got += 4 * PIECE;
    }
    for buffer in &held {
        buffer.map()?.check_zero()?;
    }
    check(&scratch.0, pieces)?;
    drop(held);
    ensure!(
        reader.wait(Duration::from_millis(1))?.is_none(),
        "the reader did not find the written data"
    );
    Ok(())
}
