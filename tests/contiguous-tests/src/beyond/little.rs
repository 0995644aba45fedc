// SPDX-License-Identifier: GPL-2.0

//! Machines with little memory left.

use super::files::Files;
use super::{
    allocate,
    MIB,
    SMALL_FRAME, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::memory;
use nix::errno::Errno;

// With little memory left, a request fails instead of killing somebody.
pub fn little_memory() -> Result<()> {
    let killed = memory::oom_kills()?;
    // Writing files takes memory too, and would trigger the OOM killer with less.
    let files = Files::fill((memory::total()? / 16).max(16 * MIB))?;
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    let errno = loop {
        match allocate(&heap, 2 * MIB) {
            Ok(buffer) => held.push(buffer),
            Err(errno) => break errno,
        }
    };
    expect_errno("with little memory", Err::<(), _>(errno), Errno::ENOMEM)?;
    diagnose(&format!(
        "{} MiB allocated, {} MiB free",
        held.len() * 2,
        memory::meminfo("MemFree")? / MIB
    ));
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    drop(held);
    drop(files);
    heap.allocate(SMALL_FRAME).map(drop)
}
