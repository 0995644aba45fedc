// SPDX-License-Identifier: GPL-2.0

//! The reserve gives way to whoever needs the memory.

use super::{
    allocate,
    column,
    reserve,
    set,
    wait_until,
    Filled,
    MIB,
    SIZE, //
};
use crate::low_zones;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory::{
    self,
    ShortCpuLists, //
};

// A request that needs the memory gets it, though no piece is as large. So does one below 4 GiB.
pub fn all_of_it() -> Result<()> {
    for name in ["cma", "cma-dma32", "rk-dma-heap-cma"] {
        let _filled = Filled::new()?;
        let heap = Heap::open(name)?;
        // The limit has room for this only without a part of the reserve.
        let size = (column("left")? - SIZE + 8 * MIB) & !(2 * MIB - 1);
        ensure!(
            size > SIZE,
            "the machine is too small for this test: {size}"
        );
        let buffer = allocate(&heap, size).with_context(|| format!("{name}: {size}"))?;
        ensure!(buffer.size()? == size);
        diagnose(&format!("{name}: {} MiB, {} left", size / MIB, reserve()?));
        drop(buffer);
    }
    Ok(())
}

/// Returns how many buffers of 4 MiB a heap provides.
fn count(name: &str) -> Result<usize> {
    Ok(Heap::open(name)?.exhaust(4 * MIB)?.len())
}

// With a reserve, as much can be allocated as without.
pub fn limit() -> Result<()> {
    let _lists = ShortCpuLists::new()?;
    set(0)?;
    let without = count("cma")?;
    let _filled = Filled::new()?;
    let with = count("cma")?;
    diagnose(&format!("{without} buffers without it, {with} with it"));
    ensure!(with >= without, "{with} instead of {without}");
    Ok(())
}

// So it can from the heaps that do not use it, and nobody is killed.
pub fn system_heap() -> Result<()> {
    let _lists = ShortCpuLists::new()?;
    let killed = memory::oom_kills()?;
    for name in ["system", "system-dma32"] {
        set(0)?;
        let without = count(name)?;
        let _filled = Filled::new()?;
        let with = count(name)?;
        diagnose(&format!(
            "{name}: {without} buffers without it, {with} with it"
        ));
        // Without giving way, 24 would be missing. Free memory varies by some MiB.
        ensure!(with + 2 >= without, "{name}: {with} instead of {without}");
    }
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    Ok(())
}

// So do drivers that need memory below 4 GiB, while other memory is free. Nobody is killed for it,
// so the reserve is not released as the last resort.
pub fn low_memory() -> Result<()> {
    let _lists = ShortCpuLists::new()?;
    let killed = memory::oom_kills()?;
    set(0)?;
    client::load("")?;
    let client = Client::open()?;
    // The first time also takes the page cache, which is not there the second time.
    client.low_memory()?;
    let without = client.low_memory()?;
    let _filled = Filled::new()?;
    let free = memory::meminfo("MemFree")?;
    let with = client.low_memory()?;
    diagnose(&format!(
        "{} MiB without it, {} MiB with it, {} MiB free",
        without / MIB,
        with / MIB,
        free / MIB
    ));
    ensure!(free > without + 256 * MIB, "there is no other memory");
    ensure!(with + SIZE / 8 >= without, "{with} instead of {without}");
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    drop(client);
    client::unload().ok();
    Ok(())
}

// A process that needs the memory gets it, and nobody is killed. It is filled again later.
pub fn under_pressure() -> Result<()> {
    let killed = memory::oom_kills()?;
    let _filled = Filled::new()?;
    // How much the kernel reclaims from files first depends on what ran before.
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while reserve()? > SIZE / 2 {
        taken.push(vec![1; 2 * MIB]);
    }
    let size = taken.len() * 2;
    diagnose(&format!("half of the reserve after {size} MiB"));
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    drop(taken);
    wait_until("not filled again", |reserve| reserve >= SIZE / 4 * 3)
}

// Where memory below 4 GiB is short, nothing above it is released, however often the kernel asks.
pub fn bit_by_bit() -> Result<()> {
    const LARGE: usize = 780 * MIB;
    const HIGH: usize = 32 * MIB;
    let filled = Filled::to(LARGE, LARGE - 8 * MIB)?;
    let heap = Heap::open("system-dma32")?;
    let mut held = Vec::new();
    while low_zones::free()? > 256 * MIB {
        held.push(heap.allocate(32 * MIB)?);
    }
    while let Ok(buffer) = heap.allocate(4 * MIB) {
        held.push(buffer);
        std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    }
    let left = reserve()?;
    diagnose(&format!("{} MiB above 4 GiB are left", left / MIB));
    ensure!(left >= HIGH, "{left} bytes are left");
    drop((held, filled));
    Ok(())
}
