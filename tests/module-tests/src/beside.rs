// SPDX-License-Identifier: GPL-2.0

//! On a kernel with its own heaps: these stay unchanged, missing ones are added and stay
//! registered.

use crate::module::Module;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::Tests;
use nix::errno::Errno;

pub fn add(tests: &mut Tests) {
    tests.add("module/beside/adds-what-is-missing", adds_what_is_missing);
    tests.add("module/beside/stays", stays);
}

fn adds_what_is_missing() -> Result<()> {
    let own = heap::names()?;
    let mut log = KernelLog::from_now_on()?;
    std::mem::forget(Module::load()?);
    let lines = log.messages()?;
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();

    for name in &own {
        let line = format!("heap {name}: left out, a heap of that name already exists");
        ensure!(count(&line) == 1, "not logged once: {line:?} in {lines:?}");
    }
    ensure!(count("the module stays") == 1, "not logged once: {lines:?}");

    let all = heap::names()?;
    for name in &own {
        ensure!(
            all.iter().filter(|other| *other == name).count() == 1,
            "{name} in {all:?}"
        );
        Heap::open(name)?.allocate(1 << 20)?;
    }
    ensure!(all.len() > own.len(), "nothing was added to {own:?}");
    for name in all {
        Heap::open(&name)?.allocate(1 << 20)?;
    }
    Ok(())
}

fn stays() -> Result<()> {
    let answer = guest_support::kernel_module::unload(crate::module::NAME);
    expect_errno("unloading", answer, Errno::EAGAIN)
}
