// SPDX-License-Identifier: GPL-2.0

//! Pools, and memory that is taken offline in blocks.
//!
//! Before it asks anybody for pages of a block, the kernel looks for pages that cannot be moved. It
//! takes those that a pool keeps for such pages.

use crate::figures::Figures;
use crate::large::{
    drop_caches,
    end,
    numbered,
    pooled_heap,
    PARAMETERS, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::module::Module;
use std::fs;
use std::io;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(600), "removed/blocks", blocks);
}

const MEMORY: &str = "/sys/devices/system/memory";

/// The longest time that the kernel may take to refuse or remove a block. It tries again and again
/// to migrate what it can, for which a second suffices. A slow host gets more.
const LIMIT: Duration = Duration::from_secs(60);

/// What the programs need.
const RESERVED: usize = 256 * MIB;

/// A block of memory. Those that a test has taken offline are online again when this is dropped.
struct Block(usize);

impl Block {
    fn set(&self, state: &str) -> io::Result<()> {
        fs::write(format!("{MEMORY}/memory{}/state", self.0), state)
    }

    /// Takes the block offline. Returns whether the kernel does that.
    fn take_offline(&self) -> Result<bool> {
        let start = Instant::now();
        let answer = self.set("offline");
        let took = start.elapsed();
        ensure!(
            took < LIMIT * checkers::timeout_factor(),
            "block {} took {took:?}",
            self.0
        );
        match answer {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                // The second kind is of a block with holes.
                io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidInput => Ok(false),
                _ => Err(error).with_context(|| format!("block {}", self.0)),
            },
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Fails for a block that is online.
        let _ = self.set("online");
    }
}

/// Returns the numbers of the blocks that the kernel takes offline, one at a time.
fn removable() -> Result<Vec<usize>> {
    let mut removable = Vec::new();
    for number in numbered(MEMORY, "memory")? {
        if Block(number).take_offline()? {
            removable.push(number);
        }
    }
    Ok(removable)
}

fn blocks() -> Result<()> {
    let module = Module::load(PARAMETERS)?;
    let heap = pooled_heap()?;
    drop_caches()?;
    let total = memory::total()?;
    let empty = removable()?;
    let free = memory::free()?;
    ensure!(free > RESERVED, "only {free} bytes are free");
    let size = (free - RESERVED).min(total / 2) / 2;
    let fill = || -> Result<Figures> {
        let buffers = [heap.allocate(size)?, heap.allocate(size)?];
        for buffer in &buffers {
            buffer.map()?.check_zero()?;
        }
        drop(buffers);
        Figures::settled()
    };
    let full = fill()?;
    ensure!(full.kept() >= 2 * size, "the pools are not full: {full:?}");
    let beside_pools = removable()?;
    diagnose(&format!(
        "{} blocks can go with empty pools, {} with {} MiB in them",
        empty.len(),
        beside_pools.len(),
        full.kept() / MIB
    ));
    let busy: Vec<_> = empty
        .iter()
        .filter(|number| !beside_pools.contains(number))
        .collect();
    ensure!(!busy.is_empty(), "the pools keep pages of no block");
    let after = Figures::settled()?;
    // The kernel may be short of memory in between: the shrinker is no error.
    ensure!(
        after.kept() <= full.kept() && after.kept() >= full.kept() / 8 * 7,
        "{full:?}, after the attempts {after:?}"
    );

    drop_caches()?;
    let kept = Figures::settled()?.kept();
    ensure!(kept == 0, "the pools keep {kept} bytes");
    let mut offline = None;
    for number in busy {
        let block = Block(*number);
        if block.take_offline()? {
            offline = Some(block);
            break;
        }
    }
    ensure!(
        offline.is_some(),
        "no block goes that the pools kept pages of"
    );
    ensure!(memory::total()? < total, "no memory is missing");
    heap.allocate(size)?.map()?.check_zero()?;
    drop(offline);
    ensure!(memory::total()? == total, "memory stays offline");
    fill()?;
    drop(heap);
    end(module)
}
