// SPDX-License-Identifier: GPL-2.0

//! Which CPU a test runs on.

use anyhow::{
    Context,
    Result, //
};
use nix::sched::{
    sched_setaffinity,
    CpuSet, //
};
use nix::unistd::Pid;

/// Keeps this thread on one CPU from here on.
pub fn stay_on_cpu(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("there is no CPU {cpu}"))
}
