// SPDX-License-Identifier: GPL-2.0

//! A driver in Rust, which checks by itself what the interface promises it, and holds memory while
//! it is loaded.

use crate::areas;
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::kernel_module::{
    self,
    KernelLog, //
};
use guest_support::ktap::Tests;
use guest_support::page_size;
use std::path::Path;

const DRIVER: &str = "rk_rust_client";
const DRIVER_FILE: &str = "/lib/modules/rk_rust_client.ko";

/// Pages that it holds: a buffer and a page array.
const HELD: usize = 2 * 16;

pub fn add(tests: &mut Tests) {
    tests.add("rust/driver-comes-and-goes", || {
        areas::undisturbed(driver_comes_and_goes)
    });
}

/// Unloads the driver, whatever comes.
struct Loaded;

impl Loaded {
    fn new() -> Result<Self> {
        let mut log = KernelLog::from_now_on()?;
        kernel_module::load(Path::new(DRIVER_FILE), "")?
            .with_context(|| format!("the driver says {:?}", log.messages()))?;
        Ok(Loaded)
    }

    fn unload(self) -> Result<()> {
        std::mem::forget(self);
        kernel_module::unload(DRIVER).context("the driver cannot be unloaded")
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = kernel_module::unload(DRIVER);
    }
}

// Any allocation makes the figure exact, so there is one in hand wherever it is read.
fn driver_comes_and_goes() -> Result<()> {
    let (heap, page) = (Heap::open(HEAP)?, page_size());
    let first = heap.allocate(page)?;
    let free = areas::free()?;
    for _ in 0..3 {
        let driver = Loaded::new()?;
        let now = areas::free()?;
        ensure!(
            free == now + HELD * page,
            "CmaFree was {free}, is {now} with the driver"
        );
        ensure!(
            kernel_module::unload("rk_dma_heap").is_err(),
            "the module was unloaded under a driver"
        );
        driver.unload()?;
        let again = heap.allocate(page)?;
        let now = areas::free()?;
        ensure!(free == now + page, "CmaFree was {free}, is {now} after it");
        drop(again);
    }
    drop(first);
    Ok(())
}
