// SPDX-License-Identifier: GPL-2.0

//! CPU affinity of tests.

use anyhow::{
    Context,
    Result, //
};
use nix::sched::{
    sched_setaffinity,
    CpuSet, //
};
use nix::unistd::Pid;

/// Binds the calling thread to one CPU.
pub fn bind_to_cpu(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}
