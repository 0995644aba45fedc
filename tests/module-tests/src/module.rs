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
use guest_support::process::eventually;
use std::path::Path;
use std::time::Duration;

pub use guest_support::module::{
    is_loaded,
    NAME, //
};

/// Tries to load it; the kernel's own answer.
pub fn try_load(parameters: &str) -> Result<nix::Result<Module>> {
    Ok(kernel_module::load(Path::new(FILE), parameters)?.map(|()| Module(())))
}

/// The module, loaded; it is unloaded when this is dropped.
#[derive(Debug)]
pub struct Module(());

impl Module {
    pub fn load() -> Result<Module> {
        Self::load_with("")
    }

    pub fn load_with(parameters: &str) -> Result<Module> {
        try_load(parameters)?.with_context(|| format!("cannot load {FILE} with {parameters:?}"))
    }

    /// Tries to unload it; the kernel's own answer.
    pub fn try_unload(&self) -> nix::Result<()> {
        kernel_module::unload(NAME)
    }

    /// Unloads it. The kernel may still be letting go of what the last process held.
    pub fn unload(self) -> Result<()> {
        eventually(Duration::from_secs(2), || {
            self.try_unload().context("cannot unload the module")
        })?;
        std::mem::forget(self);
        Ok(())
    }

    /// A heap of it, whichever.
    pub fn heap(&self) -> Result<Heap> {
        Heap::open(&self.heaps()?[0])
    }

    /// The names of its heaps.
    pub fn heaps(&self) -> Result<Vec<String>> {
        let names = heap::names()?;
        ensure!(
            !names.is_empty(),
            "the module is loaded, but there is no heap"
        );
        Ok(names)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = eventually(Duration::from_secs(2), || Ok(self.try_unload()?));
    }
}
