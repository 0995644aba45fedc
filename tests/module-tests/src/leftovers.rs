// SPDX-License-Identifier: GPL-2.0

//! Checks that the module leaves nothing behind.

use crate::module::{
    try_load,
    Module, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::checkers;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    memory, //
};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("module/comes-and-goes", comes_and_goes);
    tests.add("module/loads-only-once", loads_only_once);
    tests.add("module/gives-back-memory", gives_back_memory);
    // Removing a probe from a function waits until no task is in it, which takes half a second.
    let limit = Duration::from_secs(240);
    tests.add_within(limit, "module/many-times", many_times);
}

/// Returns all files and devices that show whether a module is loaded.
fn traces() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (folder, depth) in [
        ("/dev", 2),
        ("/proc", 1),
        ("/proc/sys", 2),
        ("/sys/class", 1),
        ("/sys/devices/virtual", 2),
        ("/sys/dev/char", 1),
        ("/sys/kernel", 1),
        ("/sys/module", 1),
        ("/sys/bus/platform/drivers", 1),
        ("/sys/kernel/debug", 2),
        ("/sys/kernel/tracing/events", 2),
    ] {
        list(Path::new(folder), depth, &mut found)?;
    }
    let devices = std::fs::read_to_string("/proc/devices")?;
    found.extend(devices.lines().map(|line| format!("/proc/devices: {line}")));
    // Processes start and exit at any time.
    found.retain(|entry| {
        let number = entry.strip_prefix("/proc/").unwrap_or("");
        number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit())
    });
    Ok(found)
}

fn list(folder: &Path, depth: usize, found: &mut BTreeSet<String>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        found.insert(entry.path().display().to_string());
        if depth > 1 && entry.file_type()?.is_dir() {
            list(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

fn comes_and_goes() -> Result<()> {
    // Parts of the kernel that are initialized with the first heap do not count.
    Module::load()?.unload()?;
    let before = traces()?;
    for _ in 0..3 {
        let module = Module::load()?;
        let added: Vec<_> = traces()?.difference(&before).cloned().collect();
        for expected in [
            "/dev/dma_heap",
            "/dev/dma_heap/system",
            "/sys/class/dma_heap",
            "/sys/devices/virtual/dma_heap/system",
            "/sys/module/rk_dma_heap",
        ] {
            ensure!(
                added.iter().any(|entry| entry == expected),
                "{expected} did not appear; added: {added:?}"
            );
        }
        module.unload()?;
        let left: Vec<_> = traces()?.difference(&before).cloned().collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        let missing: Vec<_> = before.difference(&traces()?).cloned().collect();
        ensure!(missing.is_empty(), "removed: {missing:?}");
    }
    Ok(())
}

fn loads_only_once() -> Result<()> {
    let module = Module::load()?;
    let again = try_load("")?;
    if let Ok(again) = again {
        std::mem::forget(again);
        anyhow::bail!("the module was loaded twice");
    }
    expect_errno("loading again", again, Errno::EEXIST)?;
    module.heap()?.allocate(1)?.map()?.check_zero()?;
    module.unload()
}

fn check_memory(before: usize, tolerance: usize) -> Result<()> {
    eventually(Duration::from_secs(5), || {
        let now = memory::free_and_reclaimable()?;
        let missing = before.saturating_sub(now);
        ensure!(
            missing <= checkers::tolerated(tolerance),
            "{} KiB are lost",
            missing >> 10
        );
        Ok(())
    })
}

// After unloading, memory that heaps keep for reuse is freed too.
fn gives_back_memory() -> Result<()> {
    Module::load()?.unload()?;
    let before = memory::free_and_reclaimable()?;
    let module = Module::load()?;
    for name in module.heaps()? {
        let heap = Heap::open(&name)?;
        // The other heaps have only an area, and keep nothing.
        let large = if name.starts_with("system") {
            memory::total()? / 8 / (1 << 20)
        } else {
            8
        };
        let large: Vec<_> = (0..large)
            .map(|_| heap.allocate(1 << 20))
            .collect::<Result<_>>()?;
        let small: Vec<_> = (0..500).map(|_| heap.allocate(1)).collect::<Result<_>>()?;
        drop((large, small));
    }
    module.unload()?;
    // The kernel's slabs do not shrink immediately.
    check_memory(before, 1 << 20)
}

// The loaded module has about 100 pages; the tolerance is 6 per round.
fn many_times() -> Result<()> {
    let rounds = checkers::rounds(40);
    let cycle = || -> Result<()> {
        let module = Module::load()?;
        module.heap()?.allocate(1 << 16)?;
        module.unload()
    };
    for _ in 0..5 {
        cycle()?;
    }
    let before = memory::free_and_reclaimable()?;
    for _ in 0..rounds {
        cycle()?;
    }
    check_memory(before, 1 << 20)?;
    let change = before as i64 - memory::free_and_reclaimable()? as i64;
    diagnose(&format!(
        "{rounds} rounds changed the free memory by {} KiB",
        -change / 1024
    ));
    Ok(())
}
