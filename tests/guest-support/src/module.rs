// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the module under test.

use crate::kernel_module::{
    self,
    KernelLog, //
};
use crate::ktap::skip;
use crate::retry::eventually;
use anyhow::{
    Context,
    Result, //
};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub const NAME: &str = "rk_dma_heap";

pub const FILE: &str = "/lib/modules/rk_dma_heap.ko";

/// Stores the module parameters if the kernel cannot unload the module.
const PINNED_MARKER: &str = "/run/rk_dma_heap.stays";

pub fn is_loaded() -> bool {
    kernel_module::is_loaded(NAME)
}

/// Tries to load the module and returns the result of the system call.
pub fn try_load(parameters: &str) -> Result<nix::Result<Module>> {
    if pinned_parameters().is_some() {
        return Err(skip("this kernel cannot unload the module"));
    }
    let mut log = KernelLog::from_now_on()?;
    let result = kernel_module::load(Path::new(FILE), parameters)?;
    let messages = log.messages()?;
    if messages
        .iter()
        .any(|line| line.contains("the module stays"))
    {
        fs::write(PINNED_MARKER, parameters)?;
    }
    Ok(result.map(|()| Module(())))
}

/// Returns the parameters of the loaded module if the kernel cannot unload it.
fn pinned_parameters() -> Option<String> {
    fs::read_to_string(PINNED_MARKER).ok()
}

/// The loaded module. Unloads the module when dropped, if the kernel supports that.
#[derive(Debug)]
#[must_use]
pub struct Module(());

impl Module {
    /// Loads the module. Skips the test if the module is pinned with other parameters.
    pub fn load(parameters: &str) -> Result<Module> {
        if let Some(loaded_with) = pinned_parameters() {
            if loaded_with == parameters {
                return Ok(Module(()));
            }
            return Err(skip(format!(
                "this kernel cannot unload the module, which was loaded with {loaded_with:?}"
            )));
        }
        if is_loaded() {
            // A killed test did not unload it.
            drop(Module(()));
        }
        try_load(parameters)?.with_context(|| format!("cannot load {FILE} with {parameters:?}"))
    }

    /// Unloads the module. Waits while the kernel releases the resources of the last process.
    pub fn unload(self) -> Result<()> {
        std::mem::forget(self);
        if pinned_parameters().is_some() {
            return Err(skip("this kernel cannot unload the module"));
        }
        unload()
    }
}

/// Unloads the module even if this process did not load it.
pub fn unload() -> Result<()> {
    eventually(Duration::from_secs(5), || {
        kernel_module::unload(NAME).context("cannot unload the module")
    })
}

impl Drop for Module {
    fn drop(&mut self) {
        if pinned_parameters().is_none() {
            let _ = unload();
        }
    }
}
