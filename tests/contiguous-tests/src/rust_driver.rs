// SPDX-License-Identifier: GPL-2.0

//! A driver in Rust, which checks the interface's promises itself and holds memory while it is
//! loaded.

use crate::areas;
use crate::drivers;
use crate::replay::HEAP;
use anyhow::{
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::kernel_module::{
    KernelLog,
    Loaded, //
};
use guest_support::ktap::Tests;
use guest_support::page_size;

const DRIVER: &str = "rk_rust_client";

/// Number of pages that it holds: a buffer and a page array.
const HELD: usize = 2 * 16;

pub fn add(tests: &mut Tests) {
    tests.add("rust/driver-comes-and-goes", || {
        areas::retry(driver_comes_and_goes)
    });
}

fn load() -> Result<Loaded> {
    let mut log = KernelLog::from_now_on()?;
    Loaded::new(DRIVER, "").with_context(|| format!("the driver's messages: {:?}", log.messages()))
}

fn driver_comes_and_goes() -> Result<()> {
    drivers::keeps_module_loaded(load, Loaded::unload)?;
    areas::held_while_loaded(
        &Heap::open(HEAP)?,
        HELD * page_size(),
        load,
        |_| Ok(()),
        Loaded::unload,
    )
}
