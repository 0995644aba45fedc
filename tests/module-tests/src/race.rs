// SPDX-License-Identifier: GPL-2.0

//! Programs that use a heap while the module is loaded or unloaded.

use crate::module::{
    is_loaded,
    Module, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::errno_of;
use guest_support::heap::{
    AllocationData,
    Heap,
    HEAP_DIRECTORY, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::process::Child;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::path::Path;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("module/opened-while-it-goes", opened_while_it_goes);
}

/// Number of times that the module is loaded and unloaded while programs use it.
const ROUNDS: usize = 4;

/// Opens and allocates continuously. The heap may be absent, but no other error may occur.
fn use_heap() -> Result<()> {
    let path = Path::new(HEAP_DIRECTORY).join("system");
    loop {
        match Heap::open_path(&path, OFlag::O_RDWR) {
            Ok(heap) => {
                heap.allocate_with(&AllocationData::read_write(1))?;
            }
            Err(error) => {
                let errno = error.downcast_ref().map(errno_of);
                ensure!(
                    matches!(errno, Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV)),
                    "open failed with {errno:?}"
                );
            }
        }
    }
}

fn opened_while_it_goes() -> Result<()> {
    let mut users = [Child::run(use_heap)?, Child::run(use_heap)?];
    let mut refusals = 0;
    for _ in 0..ROUNDS {
        let module = Module::load()?;
        loop {
            match module.try_unload() {
                Ok(()) => break,
                Err(Errno::EAGAIN) => refusals += 1,
                Err(errno) => anyhow::bail!("unloading failed with {errno:?}"),
            }
        }
        std::mem::forget(module);
    }
    for user in &mut users {
        let verdict = user.wait(Duration::ZERO)?;
        ensure!(
            verdict.is_none(),
            "a program that uses the heap ended: {verdict:?}"
        );
    }
    drop(users);
    diagnose(&format!(
        "{ROUNDS} times loaded and unloaded, {refusals} times EAGAIN"
    ));
    ensure!(refusals > 0, "no program used the heap during an unload");
    ensure!(!is_loaded());
    Ok(())
}
