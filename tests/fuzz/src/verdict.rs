// SPDX-License-Identifier: GPL-2.0

//! Leak checks: compares the state of the module and of the memory before and after the test.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::dma_buf::{
    self,
    Totals, //
};
use guest_support::ktap::diagnose;
use guest_support::retry::eventually;
use guest_support::{
    memory,
    module, //
};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

/// The figures of the module and of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    size: String,
    totals: Totals,
}

/// Time within which the kernel must release the resources of the processes.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tolerated loss of memory, in bytes.
const TOLERANCE: usize = 1 << 20;

/// Returns the memory that is free or accounted for by the kernel, in bytes. Memory that is missing
/// from it afterwards is leaked. Unreclaimable slabs are included because they grow during the
/// test, most of all if the kernel quarantines freed objects to detect use after free.
pub fn accounted_memory() -> Result<usize> {
    let mut bytes = memory::free_and_reclaimable()?;
    for field in [
        "SUnreclaim",
        "PageTables",
        "KernelStack",
        "AnonPages",
        "Percpu",
    ] {
        bytes += memory::meminfo(field)?;
    }
    Ok(bytes)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

impl Figures {
    pub fn now() -> Result<Figures> {
        Ok(Figures {
            size: read("/proc/rk_dmabuf/size")?,
            totals: dma_buf::totals()?,
        })
    }
}

/// Loads the module if a process has left it unloaded.
pub fn load() -> Result<()> {
    match module::try_load("")? {
        Ok(module) => std::mem::forget(module),
        // The module is loaded or is being loaded by another process.
        Err(Errno::EEXIST | Errno::EBUSY | Errno::EINVAL) => {}
        Err(errno) => return Err(errno).context("cannot load the module"),
    }
    Ok(())
}

/// Checks that all heaps have no buffers, no page arrays and no allocated memory.
fn check_heaps(text: &str) -> Result<()> {
    let mut lines = text.lines();
    let names: Vec<_> = lines
        .next()
        .context("no header line")?
        .split_whitespace()
        .collect();
    let mut heaps = 0;
    for line in lines {
        let values: Vec<_> = line.split_whitespace().collect();
        for column in ["buffers", "allocated", "arrays", "backlog"] {
            let at = names
                .iter()
                .position(|name| *name == column)
                .with_context(|| format!("no column {column}"))?;
            let value = values.get(at).context("a line is too short")?;
            ensure!(*value == "0", "{column} is not 0: {line}");
        }
        heaps += 1;
    }
    ensure!(heaps > 0, "no heaps are listed");
    Ok(())
}

/// Checks that the state is the same as before.
fn check(before: &Figures) -> Result<()> {
    check_heaps(&read("/proc/rk_dma_heap/heaps")?)?;
    let after = Figures::now()?;
    ensure!(*before == after, "{before:?} before, {after:?} after");
    Ok(())
}

/// Checks that nothing is leaked: in the figures of the module, in those of the reloaded module,
/// and in the memory of the machine.
pub fn check_no_leaks(before: &Figures, memory_before: usize) -> Result<()> {
    load()?;
    eventually(RELEASE_TIMEOUT, || check(before)).context("after the last process exited")?;
    let unloaded = eventually(RELEASE_TIMEOUT, || {
        guest_support::kernel_module::unload(module::NAME).context("cannot unload the module")
    });
    match unloaded {
        Ok(()) => load()?,
        // The module stays loaded until the next boot.
        Err(error) if is_pinned() => diagnose(&format!("{error:#}: the kernel's heaps pin it")),
        Err(error) => return Err(error),
    }
    check(before).context("after the module was reloaded")?;
    let memory_after = accounted_memory()?;
    diagnose(&format!(
        "memory accounted for: {} KiB before, {} KiB after",
        memory_before / 1024,
        memory_after / 1024
    ));
    ensure!(
        memory_after + checkers::tolerated(TOLERANCE) >= memory_before,
        "{} KiB of memory are leaked",
        (memory_before - memory_after) / 1024
    );
    Ok(())
}

/// Returns whether the kernel has a heap registry, from which heaps cannot be removed.
fn is_pinned() -> bool {
    Path::new("/sys/module/dma_heap").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_detected() {
        let heading = "heap buffers allocated pooled backlog hits misses reclaimed arrays\n";
        let line = |line: &str| check_heaps(&format!("{heading}{line}\n"));
        assert!(line("system 0 0 77 0 5 5 5 0").is_ok());
        for leaked in [
            "system 1 0 0 0 0 0 0 0",
            "system 0 4 0 0 0 0 0 0",
            "system 0 0 0 4 0 0 0 0",
            "system 0 0 0 0 0 0 0 1",
            "system 0",
        ] {
            assert!(line(leaked).is_err(), "{leaked}");
        }
        assert!(check_heaps(heading).is_err());
        assert!(check_heaps("").is_err());
    }
}
