// SPDX-License-Identifier: GPL-2.0

//! What there is to call: the nodes of heaps, and the files that the module makes.

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

/// Where nodes of heaps are.
const HEAPS: &[&str] = &["/dev/dma_heap", "/dev/rk_dma_heap"];

/// Where files are that tell or take something.
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
    /// All that is there now. The same machine has the same, in the same order.
    pub fn find() -> Result<Targets> {
        let mut heaps = Vec::new();
        for folder in HEAPS {
            list(Path::new(folder), &mut heaps)?;
        }
        let mut nodes = Vec::new();
        for folder in NODES {
            list(Path::new(folder), &mut nodes)?;
        }
        ensure!(!heaps.is_empty(), "there is no heap");
        ensure!(!nodes.is_empty(), "there is no node");
        Ok(Targets { heaps, nodes })
    }

    /// Lets everybody use the heaps, as a rule for udev does on a board.
    pub fn open_to_everybody() -> Result<()> {
        let mut nodes = vec![PathBuf::from("/dev/udmabuf")];
        for folder in HEAPS {
            list(Path::new(folder), &mut nodes)?;
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

/// Adds the files in a folder; nothing where there is no such folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot list {}", folder.display()))?,
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
