// SPDX-License-Identifier: GPL-2.0

//! A row of `qemu/targets`, and the files that set-up created for it.

use std::fs;
use std::path::{
    Path,
    PathBuf, //
};

use anyhow::{
    bail,
    Context,
    Result, //
};

/// The columns of a row that the runner needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: String,
    pub triple: String,
    pub qemu: String,
    pub machine: String,
    pub cpu: String,
    pub smp: String,
    pub memory: String,
    /// Default overlay for the machine's device tree.
    pub tree: Option<String>,
    pub boot_modules: Vec<String>,
    pub kernel_arguments: Vec<String>,
}

impl Target {
    pub fn find(project: &Path, name: &str) -> Result<Self> {
        let file = project.join("qemu/targets");
        let table =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&table, name)
    }

    /// Returns the name of the row.
    pub fn row(&self) -> &str {
        row_of(&self.name)
    }

    /// Parses the row of `name`, which is that of a row or `ROW@PACKAGE`: the row's machine with
    /// the kernel of another package.
    fn parse(table: &str, name: &str) -> Result<Self> {
        let row_name = row_of(name);
        let rows = table
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for row in rows {
            let columns: Vec<&str> = row.split_whitespace().collect();
            if columns[0] != row_name {
                continue;
            }
            // Arch, Debian architecture, kernel, suite, fragments and modules are for set-up alone.
            let [_, _, _, _, _, _, triple, qemu, machine, cpu, smp, memory, tree, boot, _, append] =
                columns[..]
            else {
                bail!(
                    "qemu/targets: the row of target '{row_name}' has {} columns instead of 16",
                    columns.len()
                );
            };
            return Ok(Self {
                name: name.into(),
                triple: triple.into(),
                qemu: format!("qemu-system-{qemu}"),
                machine: machine.into(),
                cpu: cpu.into(),
                smp: smp.into(),
                memory: memory.into(),
                tree: (tree != "-").then(|| tree.into()),
                boot_modules: list(boot),
                kernel_arguments: list(append),
            });
        }
        bail!("no target '{name}' in qemu/targets: add a row, or choose another --target");
    }
}

fn row_of(name: &str) -> &str {
    name.split_once('@').map_or(name, |(row, _)| row)
}

fn list(column: &str) -> Vec<String> {
    column
        .split(',')
        .filter(|&name| name != "-")
        .map(String::from)
        .collect()
}

/// The files of a target.
pub struct Files {
    pub kernel: PathBuf,
    pub busybox: PathBuf,
    pub kernel_modules: PathBuf,
    pub built_modules: PathBuf,
    /// The built module that init loads.
    pub module: PathBuf,
    pub guest_programs: PathBuf,
    /// Whether the guest can mount a folder of the host.
    pub has_9p: bool,
}

impl Files {
    /// Finds the files of a target.
    ///
    /// Fails if set-up of the target is incomplete.
    pub fn of(target: &Target, project: &Path) -> Result<Self> {
        let folder = project.join("build/setup").join(&target.name);
        let built_modules = project.join("build").join(&target.name);
        let kernel_modules = folder.join("modules");
        Ok(Self {
            kernel: folder.join("kernel/vmlinuz"),
            busybox: folder.join("kernel/busybox"),
            has_9p: has_module(&kernel_modules, "9p")?,
            kernel_modules,
            module: built_modules.join("rk_dma_heap.ko"),
            built_modules,
            guest_programs: project.join("target").join(&target.triple).join("release"),
        })
    }
}

/// Returns whether the modules that set-up copied into `folder` include `name`.
///
/// Fails if set-up is incomplete.
fn has_module(folder: &Path, name: &str) -> Result<bool> {
    let folder = folder.join("lib/modules");
    let context = || format!("cannot read {}: run qemu/setup", folder.display());
    for release in fs::read_dir(&folder).with_context(context)? {
        let list = release.with_context(context)?.path().join("modules.dep");
        let list = fs::read_to_string(&list).with_context(context)?;
        let file = format!("/{name}.ko:");
        if list.lines().any(|line| line.contains(&file)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# name\n\
        a arm64 arm64 linux-image-a trixie - t-a aarch64 virt,gic-version=3 cortex-a57 2 1G \
        - - vgem -\n\
        b arm armhf linux-image-b trixie x,y t-b arm virt cortex-a7 1 96M small \
        virtio_pci,virtio_console - x=1,y\n";

    #[test]
    fn finds_the_row() {
        let target = Target::parse(TABLE, "b").unwrap();
        assert_eq!(target.qemu, "qemu-system-arm");
        assert_eq!(target.memory, "96M");
        assert_eq!(target.tree.as_deref(), Some("small"));
        assert_eq!(target.boot_modules, ["virtio_pci", "virtio_console"]);
        assert_eq!(target.kernel_arguments, ["x=1", "y"]);
        assert!(Target::parse(TABLE, "a").unwrap().boot_modules.is_empty());
    }

    #[test]
    fn another_kernel_has_the_machine_of_the_row() {
        let target = Target::parse(TABLE, "b@linux-image-7.2-c").unwrap();
        assert_eq!(target.name, "b@linux-image-7.2-c");
        assert_eq!(target.memory, "96M");
    }

    #[test]
    fn names_what_is_wrong() {
        assert!(Target::parse(TABLE, "c")
            .unwrap_err()
            .to_string()
            .contains("'c'"));
        assert!(Target::parse("d arm\n", "d")
            .unwrap_err()
            .to_string()
            .contains("2 columns"));
    }

    #[test]
    fn the_real_table_parses() {
        let table = include_str!("../../targets");
        for row in table
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            Target::parse(table, row.split_whitespace().next().unwrap()).unwrap();
        }
    }
}
