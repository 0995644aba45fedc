// SPDX-License-Identifier: GPL-2.0

//! The module is unloaded, and loaded with another limit.

use super::{
    allocate,
    of_areas,
    tolerance,
    HEAP,
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator, //
};
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module;
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::pattern::Pattern;
use guest_support::retry::eventually;
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

const MODULE: &str = "rk_dma_heap";

// Switched off, a heap keeps to its area, and there is no heap without one. Loads the module again.
pub fn off() -> Result<()> {
    const FILE: &str = "/lib/modules/rk_dma_heap.ko";
    let reload = |parameters: &str| -> Result<()> {
        guest_support::allocator::unload().ok();
        guest_support::client::unload().ok();
        // The memory of a closed buffer is freed a moment later.
        eventually(Duration::from_secs(5), || {
            Ok(kernel_module::unload("rk_dma_heap")?)
        })?;
        kernel_module::load(Path::new(FILE), parameters)??;
        Ok(())
    };
    reload("contig_max_percent=0 keep_ranges=0")?;
    let total = of_areas()?;
    if total == 0 {
        let names = heap::names()?;
        ensure!(
            !names.iter().any(|name| HEAPS.contains(&name.as_str())),
            "{names:?}"
        );
    } else {
        let heap = Heap::open("cma")?;
        expect_errno("off", allocate(&heap, total + MIB), Errno::ENOMEM)?;
        let mut held = Vec::new();
        while let Ok(buffer) = allocate(&heap, MIB) {
            held.push(buffer);
        }
        ensure!(held.len() * MIB <= total, "{} MiB", held.len());
    }
    reload("contig_max_percent=5")?;
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    let errno = loop {
        match allocate(&heap, MIB) {
            Ok(buffer) => held.push(buffer),
            Err(errno) => break errno,
        }
    };
    diagnose(&format!("{} MiB, {errno}", held.len()));
    let limit = memory::total()? / 20;
    ensure!(held.len() * MIB <= total + limit, "{} MiB", held.len());
    ensure!((held.len() + 1) * MIB > limit, "{} MiB", held.len());
    drop((heap, held));
    reload("")
}

// With ranges out, the module stays, and so does the memory of buffers. A driver that is unloaded
// leaves nothing of its page arrays, and after the last buffer the module can be unloaded.
pub fn unload() -> Result<()> {
    let size = of_areas()? + MIB;
    let tolerance = tolerance(size);
    let before = memory::free_and_reclaimable()?;
    let used = || -> Result<usize> { Ok(before.saturating_sub(memory::free_and_reclaimable()?)) };
    let buffer: Buffer = Heap::open("cma")?.allocate(size)?;
    buffer.map()?.fill(Pattern(5), 0);
    let allocator = Allocator::open()?;
    allocator.pages(HEAP, Some("leaver"), size)?.keep()?;
    drop(allocator);
    ensure!(used()? + tolerance > 2 * size, "{} bytes are used", used()?);
    ensure!(
        kernel_module::unload(MODULE).is_err(),
        "unloaded while a driver uses it"
    );
    allocator::unload().context("the driver cannot be unloaded")?;
    let left = used()?;
    ensure!(
        left + tolerance > size && left < size + 2 * tolerance,
        "{left} bytes are used"
    );
    let refused = kernel_module::unload(MODULE);
    ensure!(refused.is_err(), "unloaded while there is a buffer");
    buffer.map()?.check(Pattern(5), 0)?;
    drop(buffer);
    eventually(Duration::from_secs(5), || {
        Ok(kernel_module::unload(MODULE)?)
    })?;
    let lost = used()?;
    ensure!(lost < 2 * tolerance, "{lost} bytes are lost");
    kernel_module::load(Path::new("/lib/modules/rk_dma_heap.ko"), "")??;
    Ok(())
}
