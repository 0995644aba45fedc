// SPDX-License-Identifier: GPL-2.0

//! Tracing of system calls that do not return to their caller.

use anyhow::{
    Context,
    Result, //
};
use nix::errno::Errno;
use std::path::{
    Path,
    PathBuf, //
};

/// Counts the `ioctl` calls that fail with a given error, including those of processes that are
/// killed in the call.
#[derive(Debug)]
pub struct FailedIoctls {
    instance: PathBuf,
}

impl FailedIoctls {
    pub fn with(errno: Errno) -> Result<Self> {
        let instance = Path::new("/sys/kernel/tracing/instances")
            .join(format!("guest-test-{}", std::process::id()));
        std::fs::create_dir(&instance).with_context(|| {
            format!(
                "cannot create {}: mount tracefs on /sys/kernel/tracing and run as root",
                instance.display()
            )
        })?;
        let this = FailedIoctls { instance };
        let event = this.instance.join("events/raw_syscalls/sys_exit");
        let filter = format!("id == {} && ret == -{}", libc::SYS_ioctl, errno as i32);
        std::fs::write(event.join("filter"), filter).context("cannot set a trace filter")?;
        std::fs::write(event.join("enable"), "1").context("cannot trace system calls")?;
        Ok(this)
    }

    pub fn count(&self) -> Result<usize> {
        let trace = std::fs::read_to_string(self.instance.join("trace"))?;
        Ok(trace.lines().filter(|line| !line.starts_with('#')).count())
    }
}

impl Drop for FailedIoctls {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.instance);
    }
}
