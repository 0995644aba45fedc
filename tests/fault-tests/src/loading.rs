// SPDX-License-Identifier: GPL-2.0

//! Allocation failures during module load. After each successful load the module is unloaded, so
//! the kernel must support unloading it.

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

/// Larger than the number of allocations during load.
const MAX_SITES: usize = 20_000;

/// Tolerated growth of the kernel's caches, in bytes: a few hundred bytes per load.
const TOLERANCE: usize = 4 << 20;

/// Permitted errors. The faux bus returns `ENODEV` for every failure to create a device.
const ALLOWED: &[Errno] = &[Errno::ENOMEM, Errno::ENODEV];

/// The kernel function that calls the init function of the module. Earlier allocations, for the
/// module's code and its tracepoints, are those of the kernel and are not tested.
const INIT_FUNCTION: &str = "do_init_module";

pub fn add(tests: &mut Tests) {
    tests.add_within(Duration::from_secs(600), "load/module", load);
}

fn load() -> Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    restrict_to_function(INIT_FUNCTION)?;
    let file = File::open(module::FILE).context("the module file is missing")?;
    let (mut failed, mut harmless) = (0, 0);
    let before = memory::free_and_reclaimable()?;
    for nth in 1..MAX_SITES {
        let (result, injected) =
            injection.run(nth, || finit_module(&file, c"", ModuleInitFlags::empty()))?;
        match result {
            Ok(()) => {
                check_heaps()
                    .with_context(|| format!("loaded although allocation {nth} failed"))?;
                module::unload()?;
                if !injected {
                    diagnose(&format!("{} sites, {harmless} of them harmless", nth - 1));
                    ensure!(failed > 0, "no injected failure made the load fail");
                    let missing = before.saturating_sub(memory::free_and_reclaimable()?);
                    ensure!(
                        missing <= checkers::tolerated(TOLERANCE),
                        "{} KiB of memory are leaked",
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
                failed += 1;
            }
        }
        if nth % 100 == 0 {
            diagnose(&format!("{nth} sites so far, {harmless} of them harmless"));
        }
        for path in MODULE_PATHS {
            ensure!(
                !Path::new(path).exists(),
                "{path} still exists after the failure of allocation {nth}"
            );
        }
    }
    bail!("load still reaches allocation {MAX_SITES}");
}

/// Restricts fault injection to allocations with the kernel function `name` in their stack trace.
fn restrict_to_function(name: &str) -> Result<()> {
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
    let start = start.with_context(|| format!("the kernel has no function {name}"))?;
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

/// Paths that must not exist when the module is unloaded.
const MODULE_PATHS: &[&str] = &[
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

/// Checks that all registered heaps can allocate.
fn check_heaps() -> Result<()> {
    for name in guest_support::heap::names()? {
        guest_support::heap::Heap::open(&name)?.allocate(1 << 16)?;
    }
    Ok(())
}
