// SPDX-License-Identifier: GPL-2.0

//! Loading the module, until it loads. Where the kernel never lets it go, what is left out then is left out for good: this
//! is for a machine of its own.

use crate::injection::Injection;
use anyhow::{bail, ensure, Context, Result};
use guest_support::ktap::{diagnose, Tests};
use guest_support::memory::lock_this_process;
use guest_support::module;
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

const MANY: usize = 20_000;

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(600), "load/module", load);
}

fn load() -> Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    for nth in 1..MANY {
        let (answer, injected) = injection.run(nth, || module::try_load(""))?;
        match answer? {
            Ok(module) => {
                diagnose(&format!("{} sites keep the module from loading", nth - 1));
                std::mem::forget(module);
                ensure!(nth > 1, "not one allocation could fail");
                return works().context("loaded with an allocation failing");
            }
            Err(errno) => ensure!(
                injected && errno == Errno::ENOMEM,
                "failure of allocation {nth}: {errno} (injected: {injected})"
            ),
        }
        for left in [
            "/dev/dma_heap",
            "/dev/rk_dma_heap",
            "/proc/rk_dma_heap",
            "/proc/rk_dmabuf",
            "/sys/kernel/rk_dma_heap",
        ] {
            let empty = Path::new(left)
                .read_dir()
                .map_or(true, |mut entries| entries.next().is_none());
            ensure!(empty, "failure of allocation {nth} leaves {left}");
        }
        ensure!(!module::is_loaded(), "refused, but there");
    }
    bail!("still failing at allocation {MANY}");
}

/// What was not left out does its work.
fn works() -> Result<()> {
    for name in guest_support::heap::names()? {
        guest_support::heap::Heap::open(&name)?.allocate(1 << 16)?;
    }
    Ok(())
}
