// SPDX-License-Identifier: GPL-2.0

//! The module under test, for tests of what it does once it is loaded.

use crate::kernel_module;
use crate::process::eventually;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

pub const NAME: &str = "rk_dma_heap";

pub const FILE: &str = "/lib/modules/rk_dma_heap.ko";

pub fn is_loaded() -> bool {
    kernel_module::is_loaded(NAME)
}

/// Tries to load it; the kernel's own answer.
pub fn try_load(parameters: &str) -> Result<nix::Result<Module>> {
    Ok(kernel_module::load(Path::new(FILE), parameters)?.map(|()| Module(())))
}

/// The module, loaded; it is unloaded when this is dropped.
#[derive(Debug)]
pub struct Module(());

impl Module {
    pub fn load(parameters: &str) -> Result<Module> {
        if is_loaded() {
            // A test that was killed has left it.
            drop(Module(()));
        }
        try_load(parameters)?.with_context(|| format!("cannot load {FILE} with {parameters:?}"))
    }

    /// Unloads it. The kernel may still be letting go of what the last process held.
    pub fn unload(self) -> Result<()> {
        std::mem::forget(self);
        eventually(Duration::from_secs(5), || {
            kernel_module::unload(NAME).context("cannot unload the module")
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = Module(()).unload();
    }
}
