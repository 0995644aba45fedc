// SPDX-License-Identifier: GPL-2.0

//! Limits of the pools by module parameters, and invalid parameters.

use crate::figures::Figures;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    bail,
    ensure,
    Result, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory;
use guest_support::module::{
    is_loaded,
    try_load,
    Module, //
};
use nix::errno::Errno;

pub fn add(tests: &mut Tests) {
    tests.add("bounds/bad-values", bad_values);
    tests.add("bounds/in-mib", in_mib);
    tests.add("bounds/in-percent", in_percent);
    tests.add("bounds/nothing-kept", nothing_kept);
}

fn bad_values() -> Result<()> {
    let cases = [
        "pool_max_percent=101",
        "pool_max_percent=-1",
        "pool_max_percent=",
        "pool_max_percent=1000",
        "pool_max_mib=-1",
        "pool_max_mib=much",
        "pool_max_mib=4294967296",
        "mem_accounting=2",
        "mem_accounting=on",
    ];
    for parameters in cases {
        let mut log = KernelLog::from_now_on()?;
        // The kernel rejects values that do not fit the parameter's type, the module all others.
        match try_load(parameters)? {
            Err(Errno::EINVAL | Errno::ERANGE) => {}
            answer => bail!("loading with {parameters}: {answer:?}"),
        }
        let lines = log.messages()?;
        let name = parameters.split('=').next().unwrap_or(parameters);
        match lines.iter().find(|line| line.contains(name)) {
            Some(line) => diagnose(&format!("{parameters}: the kernel's message is {line:?}")),
            None => bail!("loading with {parameters}: no message contains it: {lines:?}"),
        }
        ensure!(!is_loaded(), "{parameters}: rejected, but loaded");
        ensure!(
            heap::names()?.is_empty(),
            "{parameters}: rejected, but there are heaps"
        );
    }
    Ok(())
}

/// Allocates and frees twice `bound` bytes from all heaps at the same time, in large buffers and in
/// single pages, and checks that the pools keep as much as they may and not more.
fn check_bound(bound: usize) -> Result<()> {
    let page = guest_support::page_size();
    let mut held = Vec::new();
    for name in HEAPS {
        let heap = Heap::open(name)?;
        let large = (bound / 2).max(MIB) - MIB / 2;
        held.push(heap.allocate(large.next_multiple_of(page))?);
        for _ in 0..MIB / 2 / page {
            held.push(heap.allocate(page)?);
        }
    }
    drop(held);
    let settled = Figures::settled()?;
    diagnose(&format!(
        "at most {} KiB: {} KiB kept",
        bound >> 10,
        settled.pooled >> 10
    ));
    ensure!(
        settled.pooled <= bound,
        "{} bytes are kept, the limit is {bound}",
        settled.pooled
    );
    // The last freed run may have been a large one, which exceeded the limit.
    ensure!(
        settled.pooled + 2 * MIB > bound,
        "only {} of {bound} bytes are kept",
        settled.pooled
    );
    Ok(())
}

fn in_mib() -> Result<()> {
    for mib in [1, 16, 64] {
        let module = Module::load(&format!("pool_max_percent=100 pool_max_mib={mib}"))?;
        check_bound(mib * MIB)?;
        module.unload()?;
    }
    Ok(())
}

fn in_percent() -> Result<()> {
    let page = guest_support::page_size();
    for percent in [1, 7] {
        let module = Module::load(&format!("pool_max_percent={percent} pool_max_mib=1048576"))?;
        check_bound(memory::total()? / page * percent / 100 * page)?;
        module.unload()?;
    }
    // The smaller one of both limits applies.
    let module = Module::load("pool_max_percent=1 pool_max_mib=4")?;
    check_bound(4 * MIB)?;
    module.unload()
}

fn nothing_kept() -> Result<()> {
    for parameters in ["pool_max_mib=0", "pool_max_percent=0"] {
        let module = Module::load(parameters)?;
        for name in HEAPS {
            let heap = Heap::open(name)?;
            for size in [1, 1 << 16, 5 * MIB] {
                drop(heap.allocate(size)?);
            }
        }
        let settled = Figures::settled()?;
        ensure!(settled.kept() == 0, "{parameters}: kept {settled:?}");
        module.unload()?;
    }
    Ok(())
}
