// SPDX-License-Identifier: GPL-2.0

//! Buffers that are allocated and freed on different CPUs.

use crate::exporters;
use crate::nodes::{
    self,
    dev,
    peak,
    records,
    size, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::cpu::bind_to_cpu;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use std::thread;

/// The number of buffers of each CPU.
const BUFFERS: usize = 24;

pub fn add(tests: &mut Tests) {
    tests.add("buffers/of-each-cpu", of_each_cpu);
    tests.add("size/freed-on-another-cpu", freed_on_another_cpu);
}

/// Runs `f` on each CPU in turn, in a thread of its own.
fn on_each_cpu<T: Send>(f: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let cpus = thread::available_parallelism()?.get();
    let run = |cpu| {
        bind_to_cpu(cpu)?;
        f(cpu)
    };
    let on = |cpu| {
        thread::scope(|scope| {
            let result = scope.spawn(move || run(cpu)).join();
            result.ok().context("a thread panicked")?
        })
    };
    (0..cpus).map(on).collect()
}

// Whichever CPU has exported them, buffers are listed once, newest first, those of other exporters
// among them.
fn of_each_cpu() -> Result<()> {
    let _module = Module::load("")?;
    let heap = Heap::open("system")?;
    let mut held = exporters::all()?
        .into_iter()
        .map(|exported| exported.buffer)
        .collect::<Vec<Buffer>>();
    for _ in 0..BUFFERS {
        held.extend(on_each_cpu(|_| heap.allocate(4096))?);
    }
    held.extend(
        exporters::all()?
            .into_iter()
            .map(|exported| exported.buffer),
    );

    let expected = |held: &[Buffer]| -> Result<Vec<u64>> {
        let inodes = held.iter().rev().map(Buffer::inode);
        inodes.collect::<Result<_, _>>()
    };
    let listed = || -> Result<Vec<u64>> {
        let records = records()?;
        records
            .iter()
            .map(|record| record.number("inode"))
            .collect()
    };
    ensure!(listed()? == expected(&held)?, "{:?}", listed()?);
    ensure!(dev()?.len() == held.len(), "{:?}", dev()?);
    // Every third is gone, then all.
    let mut number = 0;
    held.retain(|_| {
        number += 1;
        number % 3 > 0
    });
    ensure!(listed()? == expected(&held)?, "{:?}", listed()?);
    held.clear();
    ensure!(listed()?.is_empty(), "{:?}", listed()?);
    Ok(())
}

// The totals are exact, on whichever CPUs buffers are allocated and freed at the same time.
fn freed_on_another_cpu() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let cpus = thread::available_parallelism()?.get();
    // A process may have 1024 descriptors, some of which are in use.
    let each = 1000 / cpus;
    let allocated = thread::scope(|scope| {
        let allocate = |cpu| {
            move || -> Result<Vec<Buffer>> {
                bind_to_cpu(cpu)?;
                let heap = Heap::open("system")?;
                (0..each).map(|_| heap.allocate(4096)).collect()
            }
        };
        let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(allocate(cpu))).collect();
        let joined = threads.into_iter().map(|thread| {
            let result = thread.join();
            result.ok().context("a thread panicked")?
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    let live = (cpus * each * 4096) as u64 / 1024;
    ensure!(size()? == before + live, "{} KiB, {live} are live", size()?);
    ensure!(peak()? >= (before + live) / 1024, "{} MiB", peak()?);
    thread::scope(|scope| {
        for (cpu, buffers) in allocated.into_iter().enumerate() {
            scope.spawn(move || {
                let bound = bind_to_cpu((cpu + 1) % cpus);
                drop(buffers);
                bound
            });
        }
    });
    ensure!(size()? == before, "{} KiB, {before} before", size()?);
    ensure!(records()?.is_empty(), "{:?}", nodes::read("buffers")?);
    Ok(())
}
