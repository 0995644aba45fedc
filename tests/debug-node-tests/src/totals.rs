// SPDX-License-Identifier: GPL-2.0

//! `size` and `peak`.

use crate::exporters::{
    self,
    SIZE, //
};
use crate::nodes::{
    self,
    peak,
    size, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::Client;
use guest_support::dma_buf::{
    self,
    Buffer, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::vgem::Vgem;
use guest_support::{
    client,
    errno_of, //
};
use nix::errno::Errno;
use std::fs::OpenOptions;
use std::io::Write;

pub fn add(tests: &mut Tests) {
    tests.add("size/every-exporter", every_exporter);
    tests.add("size/from-before-the-module", from_before_the_module);
    tests.add("size/loaded-again", loaded_again);
    tests.add("size/held-by-a-mapping-alone", held_by_a_mapping_alone);
    tests.add("size/held-by-the-kernel-alone", held_by_the_kernel_alone);
    tests.add("size/own-buffers-only", own_buffers_only);
    tests.add("size/five-digits", five_digits);
    tests.add("peak/between-two-reads", between_two_reads);
    tests.add("peak/reset", reset);
    tests.add("peak/refused-input", refused_input);
}

/// Returns the sum of the kernel's own list, in KiB.
fn kernels_sum() -> Result<u64> {
    Ok(dma_buf::totals()?.bytes as u64 / 1024)
}

fn check(expected: u64) -> Result<()> {
    let (size, sum) = (size()?, kernels_sum()?);
    ensure!(
        size == expected && sum == expected,
        "the node has {size} KiB, the kernel {sum} KiB, expected {expected} KiB"
    );
    Ok(())
}

fn every_exporter() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let buffers = exporters::all()?;
    check(before + exporters::kib(&buffers)?)?;
    for exported in buffers {
        let (was, one) = (size()?, exported.buffer.size()? as u64 / 1024);
        let exporter = exported.exporter;
        drop(exported);
        let is = size()?;
        ensure!(was - is == one, "{exporter}: {was} KiB, then {is} KiB");
    }
    check(before)
}

// Up to 9,999 a number is formatted without a 64-bit division, which not every 32-bit kernel
// supports.
fn five_digits() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let buffer = Heap::open("system")?.allocate(11_111 << 10)?;
    check(before + buffer.size()? as u64 / 1024)?;
    drop(buffer);
    check(before)
}

fn from_before_the_module() -> Result<()> {
    let before = kernels_sum()?;
    let others = exporters::others()?;
    let _module = Module::load("")?;
    check(before + exporters::kib(&others)?)?;
    drop(others);
    check(before)
}

fn loaded_again() -> Result<()> {
    let before = kernels_sum()?;
    let first = Module::load("")?;
    let others = exporters::others()?;
    check(before + exporters::kib(&others)?)?;
    drop(first);
    let mut others = others;
    others.pop();
    let _second = Module::load("")?;
    check(before + exporters::kib(&others)?)?;
    drop(others);
    check(before)
}

fn held_by_a_mapping_alone() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let mut mappings = Vec::new();
    let mut kib = 0;
    for exported in exporters::all()? {
        kib += exported.buffer.size()? as u64 / 1024;
        mappings.push(exported.buffer.map()?);
    }
    check(before + kib)?;
    drop(mappings);
    check(before)
}

fn held_by_the_kernel_alone() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let before = size()?;
    let client = Client::open()?;
    let (own, foreign) = (
        Heap::open("system")?.allocate(SIZE)?,
        Vgem::open()?.allocate(SIZE)?,
    );
    let held = [client.attach(&own)?, client.attach(&foreign)?];
    drop((own, foreign));
    check(before + 2 * (SIZE as u64 / 1024))?;
    drop(held);
    drop(client);
    check(before)
}

// The nodes of a kernel that does not allow tracking the buffers of other exporters.
fn own_buffers_only() -> Result<()> {
    let foreign = Vgem::open()?.allocate(SIZE)?;
    let _module = Module::load("track_all=0")?;
    let marked = |text: String, node: &str| {
        ensure!(
            text.lines()
                .next()
                .is_some_and(|line| line.ends_with(" (this module's own buffers only)")),
            "{node} is not marked as partial: {text:?}"
        );
        Ok(text)
    };
    for node in ["size", "peak", "dev", "sgt", "buffers"] {
        marked(nodes::read(node)?, node)?;
    }
    let own = Heap::open("system")?.allocate(SIZE)?;
    let text = marked(nodes::read("size")?, "size")?;
    ensure!(text.starts_with("Total: 640 KiB "), "{text:?}");
    let text = nodes::read("dev")?;
    ensure!(
        text.lines().count() == 3 && text.contains(" system "),
        "not exactly the buffers of the module: {text:?}"
    );
    drop(own);
    let text = nodes::read("size")?;
    ensure!(text.starts_with("Total: 0 KiB "), "{text:?}");
    drop(foreign);
    Ok(())
}

fn burst(heap: &str, mib: usize) -> Result<Vec<Buffer>> {
    let heap = Heap::open(heap)?;
    (0..mib).map(|_| heap.allocate(1 << 20)).collect()
}

fn between_two_reads() -> Result<()> {
    let _module = Module::load("")?;
    let before = peak()?;
    let held = burst("system", 7)?;
    drop(held);
    // A later, lower maximum does not change the peak.
    drop(burst("system", 2)?);
    let after = peak()?;
    ensure!(
        after == before + 7,
        "{before} MiB, then {after} MiB, expected 7 MiB more"
    );
    let vgem = Vgem::open()?;
    let held: Vec<_> = (0..9)
        .map(|_| vgem.allocate(1 << 20))
        .collect::<Result<_>>()?;
    drop(held);
    let last = peak()?;
    ensure!(
        last == before + 9,
        "{last} MiB, expected {before} MiB and 9 MiB more"
    );
    Ok(())
}

fn reset() -> Result<()> {
    let _module = Module::load("")?;
    let before = peak()?;
    let held = burst("system", 3)?;
    drop(burst("system", 4)?);
    ensure!(peak()? == before + 7, "{}", peak()?);
    for zero in ["0", "0\n"] {
        std::fs::write(nodes::path("peak"), zero)?;
        ensure!(peak()? == before + 3, "after {zero:?}: {}", peak()?);
    }
    drop(held);
    std::fs::write(nodes::path("peak"), "0")?;
    ensure!(peak()? == before, "{}", peak()?);
    Ok(())
}

fn refused_input() -> Result<()> {
    let _module = Module::load("")?;
    drop(burst("system", 5)?);
    let before = peak()?;
    let junk = "0".repeat(1 << 20);
    for input in [
        "1", "", "00", "0 0", "-0", "0x0", "zero", "\n", "0\0", &junk,
    ] {
        let mut file = OpenOptions::new().write(true).open(nodes::path("peak"))?;
        let shown: String = input.chars().take(10).collect();
        match file.write(input.as_bytes()) {
            Ok(written) => anyhow::bail!("{shown:?} was accepted: {written} bytes"),
            Err(error) => ensure!(
                errno_of(&error) == Errno::EINVAL,
                "{shown:?} fails with {error}, expected EINVAL"
            ),
        }
        let after = peak()?;
        ensure!(
            after == before,
            "{shown:?} changed the peak from {before} to {after}"
        );
    }
    Ok(())
}
