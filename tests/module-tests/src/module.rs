// SPDX-License-Identifier: GPL-2.0

//! The module under test.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module;
use guest_support::module::FILE;
use guest_support::retry::eventually;
use std::path::Path;
use std::time::Duration;

pub use guest_support::module::{
    is_loaded,
    NAME, //
};

/// Tries to load the module and returns the kernel's answer.
pub fn try_load(parameters: &str) -> Result<nix::Result<Module>> {
    Ok(kernel_module::load(Path::new(FILE), parameters)?.map(|()| Module(())))
}

/// The loaded module, which is unloaded on drop.
#[derive(Debug)]
pub struct Module(());

impl Module {
    pub fn load() -> Result<Module> {
        Self::load_with("")
    }

    pub fn load_with(parameters: &str) -> Result<Module> {
        try_load(parameters)?.with_context(|| format!("cannot load {FILE} with {parameters:?}"))
    }

    /// Tries to unload the module and returns the kernel's answer.
    pub fn try_unload(&self) -> nix::Result<()> {
        kernel_module::unload(NAME)
    }

    /// Unloads the module. Retries, because the kernel may release a process's files later.
    pub fn unload(self) -> Result<()> {
        eventually(Duration::from_secs(2), || {
            self.try_unload().context("cannot unload the module")
        })?;
        std::mem::forget(self);
        Ok(())
    }

    /// Opens any of its heaps.
    pub fn heap(&self) -> Result<Heap> {
        Heap::open(&self.heaps()?[0])
    }

    /// Returns the names of its heaps.
    pub fn heaps(&self) -> Result<Vec<String>> {
        let names = heap::names()?;
        ensure!(
            !names.is_empty(),
            "the module is loaded, but there are no heaps"
        );
        Ok(names)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = eventually(Duration::from_secs(2), || Ok(self.try_unload()?));
    }
}
