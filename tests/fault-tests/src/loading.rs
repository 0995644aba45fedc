// SPDX-License-Identifier: GPL-2.0

//! Loading the module, which is unloaded each time that it does load: this is for kernels that let
//! it go.

use crate::injection::Injection;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory::{
    self,
    lock_this_process, //
};
use guest_support::module;
use nix::errno::Errno;
use nix::kmod::{
    finit_module,
    ModuleInitFlags, //
};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

const MANY: usize = 20_000;

/// The kernel's caches have grown by no more, which is a few hundred bytes for each time that the
/// module was loaded.
const TOLERANCE: usize = 4 << 20;

/// A device on the faux bus that cannot be made is `ENODEV`, whatever it was for want of.
const ALLOWED: &[Errno] = &[Errno::ENOMEM, Errno::ENODEV];

/// What the kernel does before, for the module's code and its tracepoints, is none of the module's
/// business.
const INITIALISATION: &str = "do_init_module";

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(600), "load/module", load);
}

fn load() -> Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    only_under(INITIALISATION)?;
    let file = File::open(module::FILE).context("the module is not there")?;
    let (mut refused, mut harmless) = (0, 0);
    let before = memory::free_and_reclaimable()?;
    for nth in 1..MANY {
        let (answer, injected) =
            injection.run(nth, || finit_module(&file, c"", ModuleInitFlags::empty()))?;
        match answer {
            Ok(()) => {
                works().with_context(|| format!("loaded without allocation {nth}"))?;
                module::unload()?;
                if !injected {
                    diagnose(&format!("{} sites, {harmless} of them harmless", nth - 1));
                    ensure!(refused > 0, "not one allocation could fail");
                    let missing = before.saturating_sub(memory::free_and_reclaimable()?);
                    ensure!(
                        missing <= checkers::tolerated(TOLERANCE),
                        "{} KiB are gone",
                        missing >> 10
                    );
                    return Ok(());
                }
                harmless += 1;
            }
            Err(errno) => {
                ensure!(
                    injected && ALLOWED.contains(&errno),
                    "failure of allocation {nth}: {errno} (injected: {injected})"
                );
                refused += 1;
            }
        }
        if nth % 100 == 0 {
            diagnose(&format!("{nth} so far, {harmless} of them harmless"));
        }
        for left in LEFT {
            ensure!(
                !Path::new(left).exists(),
                "failure of allocation {nth} leaves {left}"
            );
        }
    }
    bail!("still failing at allocation {MANY}");
}

/// Lets only those allocations fail that are made under the kernel's function `name`.
fn only_under(name: &str) -> Result<()> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    let mut addresses = BTreeSet::new();
    let mut start = None;
    for line in symbols.lines() {
        let mut words = line.split_whitespace();
        let (Some(address), Some(_), Some(symbol)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let address = u64::from_str_radix(address, 16)?;
        addresses.insert(address);
        start = start.or((symbol == name).then_some(address));
    }
    let start = start.with_context(|| format!("the kernel has no {name}"))?;
    let next = addresses.range(start + 1..).next();
    let end = next.with_context(|| format!("{name} is the kernel's last function"))?;
    for injection in ["failslab", "fail_page_alloc"] {
        for (setting, value) in [
            ("require-start", start),
            ("require-end", *end),
            ("stacktrace-depth", 32),
        ] {
            let path = format!("/sys/kernel/debug/{injection}/{setting}");
            std::fs::write(&path, format!("{value:#x}"))
                .with_context(|| format!("cannot write {path}"))?;
        }
    }
    Ok(())
}

/// What must be gone when the module is.
const LEFT: &[&str] = &[
    "/dev/dma_heap",
    "/dev/rk_dma_heap",
    "/proc/rk_dma_heap",
    "/proc/rk_dmabuf",
    "/sys/kernel/dma_heap",
    "/sys/kernel/rk_dma_heap",
    "/sys/class/dma_heap",
    "/sys/class/rk_dma_heap",
    "/sys/module/rk_dma_heap",
];

/// What was not left out does its work.
fn works() -> Result<()> {
    for name in guest_support::heap::names()? {
        guest_support::heap::Heap::open(&name)?.allocate(1 << 16)?;
    }
    Ok(())
}
