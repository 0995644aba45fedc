// SPDX-License-Identifier: GPL-2.0

//! Whose heaps are measured, and what it takes to load them.

use crate::figure::tell;
use anyhow::{
    Context,
    Result, //
};
use clap::ValueEnum;
use guest_support::{
    kernel_module,
    module, //
};
use std::fs;
use std::path::{
    Path,
    PathBuf, //
};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SideName {
    /// The kernel's own heaps
    InTree,
    /// The module's
    Ours,
}

/// The heaps of one side, loaded.
pub struct Side {
    name: SideName,
    /// What loading took, in nanoseconds.
    load: f64,
    /// The sizes of the files, and of what is in memory of them.
    file_bytes: u64,
    memory_bytes: u64,
}

impl Side {
    pub fn load(name: SideName, parameters: &str) -> Result<Self> {
        let mut this = Side {
            name,
            load: 0.0,
            file_bytes: 0,
            memory_bytes: 0,
        };
        match name {
            SideName::Ours => this.add(module::NAME, Path::new(module::FILE), parameters)?,
            SideName::InTree => {
                let folder = in_tree_folder()?;
                for module in ["system_heap", "cma_heap"] {
                    this.add(module, &folder.join(format!("{module}.ko")), "")?;
                }
            }
        }
        Ok(this)
    }

    fn add(&mut self, module: &str, file: &Path, parameters: &str) -> Result<()> {
        let start = Instant::now();
        kernel_module::load(file, parameters)?
            .with_context(|| format!("cannot load {}", file.display()))?;
        self.load += start.elapsed().as_nanos() as f64;
        self.file_bytes += fs::metadata(file)?.len();
        let size = format!("/sys/module/{module}/coresize");
        let text = fs::read_to_string(&size).with_context(|| format!("cannot read {size}"))?;
        self.memory_bytes += text.trim().parse::<u64>()?;
        Ok(())
    }

    /// Prints what loading took.
    pub fn tell(&self) -> Result<()> {
        tell("module-load", 0, self.load);
        tell("module-file", 0, self.file_bytes as f64);
        tell("module-memory", 0, self.memory_bytes as f64);
        Ok(())
    }

    pub fn is_ours(&self) -> bool {
        self.name == SideName::Ours
    }

    /// The heap of the kernel's default contiguous area.
    pub fn contiguous_heap(&self) -> &'static str {
        match self.name {
            SideName::InTree => "default_cma_region",
            SideName::Ours => "cma",
        }
    }
}

fn in_tree_folder() -> Result<PathBuf> {
    let kernel = nix::sys::utsname::uname()?;
    let folder = Path::new("/lib/modules").join(kernel.release());
    Ok(folder.join("kernel/drivers/dma-buf/heaps"))
}
