// SPDX-License-Identifier: GPL-2.0

//! The targets of calls: the device nodes of heaps and the files of the module.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::os::unix::fs::PermissionsExt;
use std::path::{
    Path,
    PathBuf, //
};

/// Directories of heap device nodes.
const HEAPS: &[&str] = &["/dev/dma_heap", "/dev/rk_dma_heap"];

/// Directories of files that can be read or written.
const NODES: &[&str] = &[
    "/proc/rk_dmabuf",
    "/proc/rk_dma_heap",
    "/sys/kernel/rk_dma_heap",
    "/sys/kernel/dma_heap",
    "/sys/module/rk_dma_heap/parameters",
];

pub struct Targets {
    pub heaps: Vec<PathBuf>,
    pub nodes: Vec<PathBuf>,
}

impl Targets {
    /// Finds all existing targets. The order is the same in each run on a machine.
    pub fn find() -> Result<Targets> {
        let mut heaps = Vec::new();
        for directory in HEAPS {
            list(Path::new(directory), &mut heaps)?;
        }
        let mut nodes = Vec::new();
        for directory in NODES {
            list(Path::new(directory), &mut nodes)?;
        }
        ensure!(!heaps.is_empty(), "no heap exists");
        ensure!(!nodes.is_empty(), "no node exists");
        Ok(Targets { heaps, nodes })
    }

    /// Makes the heaps accessible to all users, as a udev rule does.
    pub fn make_world_accessible() -> Result<()> {
        let mut nodes = vec![PathBuf::from("/dev/udmabuf")];
        for directory in HEAPS {
            list(Path::new(directory), &mut nodes)?;
        }
        for node in nodes {
            match std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o666)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot chmod {}", node.display()))
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Adds the files in a directory, if it exists.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot list {}", directory.display()))?,
    };
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if !entry.file_type()?.is_dir() {
            files.push(entry.path());
        }
    }
    Ok(())
}
