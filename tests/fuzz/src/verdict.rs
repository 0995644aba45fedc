// SPDX-License-Identifier: GPL-2.0

//! The module's figures, before and after: when everybody is gone, nothing may be left.

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
use guest_support::process::eventually;
use guest_support::{
    memory,
    module, //
};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

/// What the module and the kernel say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    size: String,
    totals: Totals,
}

/// How long the kernel may take to release what the processes held.
const SOON: Duration = Duration::from_secs(5);

/// How much less memory there may be afterwards.
const NOISE: usize = 1 << 20;

/// The memory that is free, or whose use the kernel can name: what is missing from it afterwards
/// has been lost. Slabs only ever grow here, most of all where a kernel keeps what was freed for a
/// while, to find those who use it still.
pub fn accounted() -> Result<usize> {
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

/// Loads the module where a process has left it unloaded.
pub fn load() -> Result<()> {
    match module::try_load("")? {
        Ok(module) => std::mem::forget(module),
        // It is there, or another process is just loading it.
        Err(Errno::EEXIST | Errno::EBUSY | Errno::EINVAL) => {}
        Err(errno) => return Err(errno).context("cannot load the module"),
    }
    Ok(())
}

/// Checks the heaps' own figures: no buffer, no page array, nothing allocated.
fn check_heaps(text: &str) -> Result<()> {
    let mut lines = text.lines();
    let names: Vec<_> = lines
        .next()
        .context("no heading")?
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
    ensure!(heaps > 0, "there are no heaps");
    Ok(())
}

/// Checks that everything is as it was.
fn check(before: &Figures) -> Result<()> {
    check_heaps(&read("/proc/rk_dma_heap/heaps")?)?;
    let after = Figures::now()?;
    ensure!(*before == after, "{before:?} before, {after:?} after");
    Ok(())
}

/// Checks that nothing is left: as the module says, as it says when it is loaded anew, and as the
/// machine's memory does.
pub fn nothing_is_left(before: &Figures, memory_before: usize) -> Result<()> {
    load()?;
    eventually(SOON, || check(before)).context("after the last process has ended")?;
    let unloaded = eventually(SOON, || {
        guest_support::kernel_module::unload(module::NAME).context("cannot unload the module")
    });
    match unloaded {
        Ok(()) => load()?,
        // There it stays until the next boot.
        Err(error) if pinned() => diagnose(&format!("{error:#}: the kernel's heaps pin it")),
        Err(error) => return Err(error),
    }
    check(before).context("after the module was loaded anew")?;
    let memory_after = accounted()?;
    diagnose(&format!(
        "memory accounted for: {} KiB before, {} KiB after",
        memory_before / 1024,
        memory_after / 1024
    ));
    ensure!(
        memory_after + checkers::tolerated(NOISE) >= memory_before,
        "{} KiB of memory are lost",
        (memory_before - memory_after) / 1024
    );
    Ok(())
}

/// Whether the kernel has a registry of heaps, from which the module's cannot be taken back.
fn pinned() -> bool {
    Path::new("/sys/module/dma_heap").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found() {
        let heading = "heap buffers allocated pooled backlog hits misses reclaimed arrays\n";
        let line = |line: &str| check_heaps(&format!("{heading}{line}\n"));
        assert!(line("system 0 0 77 0 5 5 5 0").is_ok());
        for left in [
            "system 1 0 0 0 0 0 0 0",
            "system 0 4 0 0 0 0 0 0",
            "system 0 0 0 4 0 0 0 0",
            "system 0 0 0 0 0 0 0 1",
            "system 0",
        ] {
            assert!(line(left).is_err(), "{left}");
        }
        assert!(check_heaps(heading).is_err());
        assert!(check_heaps("").is_err());
    }
}
