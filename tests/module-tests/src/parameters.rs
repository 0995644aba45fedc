// SPDX-License-Identifier: GPL-2.0

//! Module parameters: their effects, and the messages about invalid values.

use crate::module::{
    is_loaded,
    try_load,
    Module, //
};
use anyhow::{
    bail,
    ensure,
    Result, //
};
use guest_support::heap::{
    self,
    AllocationData,
    Heap, //
};
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::{
    expect_errno,
    memory, //
};
use nix::errno::Errno;

pub fn add(tests: &mut Tests) {
    tests.add("module/parameters/bad-values", bad_values);
    tests.add("module/parameters/max-percent", max_percent);
}

fn bad_values() -> Result<()> {
    let cases = [
        "max_percent=0",
        "max_percent=101",
        "max_percent=300",
        "max_percent=-1",
        "max_percent=half",
        "max_percent=",
        "contig_max_percent=101",
        "contig_max_percent=-1",
        "contig_reserve_mib=-1",
        "contig_reserve_mib=much",
        "pool_max_percent=101",
        "pool_max_percent=-1",
        "pool_max_mib=-1",
        "pool_prefill_mib=-1",
        "pool_max_mib=much",
        "pool_max_mib=4294967296",
        "mem_accounting=2",
        "mem_accounting=maybe",
        "cache_states=2",
        "cache_states=off",
    ];
    for parameters in cases {
        let mut log = KernelLog::from_now_on()?;
        let answer = try_load(parameters)?;
        expect_errno(format!("loading with {parameters}"), answer, Errno::EINVAL)?;
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
    // One invalid value among valid ones is enough.
    let answer = try_load("pool_max_percent=5 max_percent=0 pool_max_mib=16")?;
    expect_errno("loading with one bad value of three", answer, Errno::EINVAL)?;
    ensure!(!is_loaded());
    Module::load()?.unload()
}

fn max_percent() -> Result<()> {
    for percent in [1, 10, 100] {
        let module = Module::load_with(&format!("max_percent={percent}"))?;
        let heap = Heap::open("system")?;
        let limit = memory::total()? / 100 * percent;
        // Slightly above and below the limit; the limit itself depends on rounding.
        let slack = memory::total()? / 1000;
        let over = AllocationData::read_write((limit + slack) as u64);
        let what = format!("more than {percent} %");
        expect_errno(what, heap.allocate_with(&over), Errno::ENOMEM)?;
        if percent < 50 {
            heap.allocate(limit - slack)?;
        }
        drop(heap);
        module.unload()?;
    }
    Ok(())
}
