// SPDX-License-Identifier: GPL-2.0

//! CPU affinity and priority of tests.

use anyhow::{
    Context,
    Result, //
};
use nix::errno::Errno;
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

/// Gives the calling thread the highest priority, before all threads of the kernel.
pub fn become_real_time() -> Result<()> {
    // SAFETY: The numbers of a struct that C may fill with zeroes.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 98;
    // SAFETY: The kernel only reads the struct. 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
    Errno::result(result)
        .map(drop)
        .context("cannot get a real-time priority")
}
