// SPDX-License-Identifier: GPL-2.0

//! Memory cgroups, version 2.
//!
//! Reference: `Documentation/admin-guide/cgroup-v2.rst`

use anyhow::{
    Context,
    Result, //
};
use guest_support::retry::eventually;
use std::path::{
    Path,
    PathBuf, //
};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup. On drop it is removed as soon as no process is in it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn new(name: &str) -> Result<Cgroup> {
        std::fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+memory")
            .with_context(|| format!("no memory controller: mount cgroup2 on {ROOT}"))?;
        let path = Path::new(ROOT).join(name);
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot create cgroup {}", path.display()))?;
        Ok(Cgroup { path })
    }

    /// Moves the calling process into the cgroup.
    pub fn attach(&self) -> Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Sets the limit, in bytes.
    pub fn set_limit(&self, bytes: usize) -> Result<()> {
        self.write("memory.max", &bytes.to_string())
    }

    /// Returns the charged bytes.
    pub fn charged(&self) -> Result<usize> {
        Ok(self.read("memory.current")?.trim().parse()?)
    }

    /// Returns the charged bytes of kernel memory.
    pub fn kernel(&self) -> Result<usize> {
        self.field("memory.stat", "kernel")
    }

    /// Returns the number of processes that the OOM killer has killed in the cgroup.
    pub fn kills(&self) -> Result<usize> {
        self.field("memory.events", "oom_kill")
    }

    fn field(&self, file: &str, name: &str) -> Result<usize> {
        let text = self.read(file)?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("{file} has no field {name}"))?;
        Ok(value.parse()?)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path.join(file);
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write {text} to {}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = eventually(Duration::from_secs(2), || {
            Ok(std::fs::remove_dir(&self.path)?)
        });
    }
}
