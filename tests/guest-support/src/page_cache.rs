// SPDX-License-Identifier: GPL-2.0

//! A page cache that fills memory: clean pages of a file, which the kernel reclaims when it needs
//! some.
//!
//! Files in the guest's own file systems have no place but memory, so their pages cannot be
//! reclaimed. Those of the host's folder that is mounted on `/share` can be read again.

use crate::memory;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::mount::{
    mount,
    umount,
    MsFlags, //
};
use std::fs::{
    self,
    File, //
};
use std::io::Read;
use std::path::{
    Path,
    PathBuf, //
};

const FOLDER: &str = "/share";

/// As the folder is mounted at boot, and with a cache.
const OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=262144,cache=loose";

/// A file whose pages fill memory, and are freed on drop.
pub struct PageCache {
    path: PathBuf,
}

impl PageCache {
    /// Reads as much of a file as it takes to leave `left` bytes free, at least as much as the
    /// machine has memory.
    pub fn fill(left: usize) -> Result<Self> {
        if !is_cached()? {
            umount(FOLDER).with_context(|| format!("cannot unmount {FOLDER}"))?;
            mount(
                Some("share"),
                FOLDER,
                Some("9p"),
                MsFlags::empty(),
                Some(OPTIONS),
            )
            .with_context(|| format!("cannot mount {FOLDER} with a cache"))?;
        }
        let this = PageCache {
            path: Path::new(FOLDER).join("page-cache"),
        };
        // The file has no blocks on the host.
        let size = memory::total()?;
        File::create(&this.path)?.set_len(size as u64)?;
        this.read(left)?;
        let free = memory::meminfo("MemFree")?;
        ensure!(
            free < 2 * left,
            "{free} bytes are free after reading {size}"
        );
        Ok(this)
    }

    /// Reads the file until `left` bytes are free, or to its end.
    pub fn read(&self, left: usize) -> Result<()> {
        let mut file = File::open(&self.path)?;
        let mut piece = vec![0; 1 << 20];
        while memory::meminfo("MemFree")? > left {
            if file.read(&mut piece)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether the folder is mounted with a cache.
fn is_cached() -> Result<bool> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mut lines = mounts.lines().map(|line| line.split_whitespace());
    let folder = lines.find(|fields| fields.clone().nth(1) == Some(FOLDER));
    let mut fields = folder.with_context(|| format!("nothing is mounted on {FOLDER}"))?;
    Ok(fields
        .nth(3)
        .is_some_and(|options| options.contains("cache=loose")))
}
