// SPDX-License-Identifier: GPL-2.0

//! The measured implementation: its modules, their sizes and the cost of loading them.

use crate::figure::print_figure;
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
    /// The in-tree heaps
    InTree,
    /// The module's heaps
    Ours,
}

/// A loaded implementation of the heaps.
pub struct Side {
    name: SideName,
    /// Duration of loading, in nanoseconds.
    load: f64,
    /// Total size of the module files.
    file_bytes: u64,
    /// Total size of the modules in memory.
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

    /// Prints the load cost and the module sizes.
    pub fn print_figures(&self) {
        print_figure("module-load", 0, self.load);
        print_figure("module-file", 0, self.file_bytes as f64);
        print_figure("module-memory", 0, self.memory_bytes as f64);
    }

    pub fn is_ours(&self) -> bool {
        self.name == SideName::Ours
    }

    /// Returns the name of the heap of the default CMA area.
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
