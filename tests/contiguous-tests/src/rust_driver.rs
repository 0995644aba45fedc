// SPDX-License-Identifier: GPL-2.0

//! A driver in Rust, which checks the interface's promises itself and holds memory while it is
//! loaded.

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

/// Number of pages that it holds: a buffer and a page array.
const HELD: usize = 2 * 16;

pub fn add(tests: &mut Tests) {
    tests.add("rust/driver-comes-and-goes", || {
        areas::retry(driver_comes_and_goes)
    });
}

/// The loaded driver; unloads it on drop.
struct Loaded;

impl Loaded {
    fn new() -> Result<Self> {
        let mut log = KernelLog::from_now_on()?;
        kernel_module::load(Path::new(DRIVER_FILE), "")?
            .with_context(|| format!("the driver's messages: {:?}", log.messages()))?;
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

fn driver_comes_and_goes() -> Result<()> {
    areas::held_while_loaded(
        &Heap::open(HEAP)?,
        HELD * page_size(),
        Loaded::new,
        |_| {
            ensure!(
                kernel_module::unload("rk_dma_heap").is_err(),
                "the module was unloaded while a driver used it"
            );
            Ok(())
        },
        Loaded::unload,
    )
}
