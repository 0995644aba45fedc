// SPDX-License-Identifier: GPL-2.0

//! Drivers that are unloaded while their memory is in use, and the module's use count.

use crate::areas;
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator,
    Interface, //
};
use guest_support::kernel_module;
use guest_support::ktap::Tests;
use guest_support::pattern::Pattern;
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

const MODULE: &str = "rk_dma_heap";
const MODULE_FILE: &str = "/lib/modules/rk_dma_heap.ko";

pub fn add(tests: &mut Tests) {
    tests.add("unloading/driver-with-buffers", driver_with_buffers);
    tests.add("unloading/driver-with-a-heap", driver_with_a_heap);
    tests.add("unloading/module-when-unused", module_when_unused);
}

fn available() -> Result<usize> {
    Ok(areas::all()?.iter().map(|area| area.available).sum())
}

// Unloading a driver frees its page array and drops its reference to a buffer, but not the buffer.
fn driver_with_buffers() -> Result<()> {
    let allocator = Allocator::open()?;
    let before = available()?;
    let (array, size) = (64 * page_size(), 16 * page_size());
    allocator.pages(HEAP, Some("leaver"), array)?.keep()?;
    let held = allocator.buffer(Interface::Rockchip, HEAP, Some("leaver"), size)?;
    let buffer = held.export()?;
    held.keep()?;
    let other = allocator.buffer(Interface::Android, "cma", None, size)?;
    other.keep()?;
    buffer.map()?.fill(Pattern(8), 0);
    drop(allocator);
    ensure!(before - available()? == array + 2 * size);
    expect_errno(
        "the module, in use",
        kernel_module::unload(MODULE),
        Errno::EAGAIN,
    )
    .or_else(|_| {
        expect_errno(
            "the module, in use",
            kernel_module::unload(MODULE),
            Errno::EBUSY,
        )
    })?;
    allocator::unload().context("the driver cannot be unloaded")?;
    ensure!(
        before - available()? == size,
        "only the buffer must be left"
    );
    buffer.map()?.check(Pattern(8), 0)?;
    drop(buffer);
    eventually(Duration::from_secs(5), || {
        ensure!(available()? == before);
        Ok(())
    })
}

fn driver_with_a_heap() -> Result<()> {
    const NAME: &str = "leaving-heap";
    let allocator = Allocator::open()?;
    allocator.add_heap(NAME, true, false)?;
    let buffer = allocator.descriptor(Interface::Rockchip, NAME, None, page_size())?;
    drop(allocator);
    allocator::unload().context("the driver cannot be unloaded")?;
    ensure!(!Path::new("/dev/rk_dma_heap").join(NAME).exists());
    buffer.map()?.check_zero()
}

fn module_when_unused() -> Result<()> {
    // The driver is linked against the module.
    Allocator::open()?;
    ensure!(
        kernel_module::unload(MODULE).is_err(),
        "unloaded while a driver uses it"
    );
    allocator::unload()?;
    for _ in 0..3 {
        eventually(Duration::from_secs(2), || {
            kernel_module::unload(MODULE).context("the module has no users")
        })?;
        ensure!(!Path::new("/dev/rk_dma_heap").exists() && !Path::new("/dev/dma_heap").exists());
        kernel_module::load(Path::new(MODULE_FILE), "")??;
        let allocator = Allocator::open()?;
        allocator.pages(HEAP, None, page_size())?;
        drop(allocator);
        allocator::unload()?;
    }
    Ok(())
}
