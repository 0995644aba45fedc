// SPDX-License-Identifier: GPL-2.0

//! The module under test, for tests of what it does once it is loaded.

use crate::kernel_module::{
    self,
    KernelLog, //
};
use crate::ktap::skip;
use crate::process::eventually;
use anyhow::{
    Context,
    Result, //
};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub const NAME: &str = "rk_dma_heap";

pub const FILE: &str = "/lib/modules/rk_dma_heap.ko";

/// What the module was loaded with, where the kernel does not let it go again.
const STAYS: &str = "/run/rk_dma_heap.stays";

pub fn is_loaded() -> bool {
    kernel_module::is_loaded(NAME)
}

/// Tries to load it; the kernel's own answer.
pub fn try_load(parameters: &str) -> Result<nix::Result<Module>> {
    if stays_with().is_some() {
        return Err(skip("this kernel does not let the module go"));
    }
    let mut log = KernelLog::from_now_on()?;
    let answer = kernel_module::load(Path::new(FILE), parameters)?;
    let said = log.messages()?;
    if said.iter().any(|line| line.contains("the module stays")) {
        fs::write(STAYS, parameters)?;
    }
    Ok(answer.map(|()| Module(())))
}

fn stays_with() -> Option<String> {
    fs::read_to_string(STAYS).ok()
}

/// The module, loaded; it is unloaded when this is dropped, if the kernel ever lets it go.
#[derive(Debug)]
pub struct Module(());

impl Module {
    /// Loads it. A test that needs other parameters than those that the module stays with is
    /// skipped.
    pub fn load(parameters: &str) -> Result<Module> {
        if let Some(with) = stays_with() {
            if with == parameters {
                return Ok(Module(()));
            }
            return Err(skip(format!(
                "this kernel does not let the module go, and it was loaded with {with:?}"
            )));
        }
        if is_loaded() {
            // A test that was killed has left it.
            drop(Module(()));
        }
        try_load(parameters)?.with_context(|| format!("cannot load {FILE} with {parameters:?}"))
    }

    /// Unloads it. The kernel may still be letting go of what the last process held.
    pub fn unload(self) -> Result<()> {
        std::mem::forget(self);
        if stays_with().is_some() {
            return Err(skip("this kernel does not let the module go"));
        }
        unload()
    }
}

/// Unloads it, whoever has loaded it.
pub fn unload() -> Result<()> {
    eventually(Duration::from_secs(5), || {
        kernel_module::unload(NAME).context("cannot unload the module")
    })
}

impl Drop for Module {
    fn drop(&mut self) {
        if stays_with().is_none() {
            let _ = unload();
        }
    }
}
