// SPDX-License-Identifier: GPL-2.0

//! Pools on a machine with two nodes of memory, and with CPUs that go offline.

use crate::figures::{
    self,
    Figures, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::cpu::bind_to_cpu;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    skip,
    Tests, //
};
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::process::Skipped;
use std::fs;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    let limit = Duration::from_secs(120);
    tests.add_within(limit, "large/nodes", nodes);
    tests.add_within(limit, "large/cpu-offline", cpu_offline);
}

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// Load parameters with which the pools may keep most of memory.
pub const PARAMETERS: &str = "pool_max_percent=60 pool_max_mib=1048576";

/// The number of buffers per CPU. Descriptors for more are not available.
const BUFFERS: usize = 100;

/// The difference in free memory, in bytes, that slabs and page tables may cause.
const SLACK: usize = 24 * MIB;

pub fn drop_caches() -> Result<()> {
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}

/// Returns a heap with a pool. Beside a kernel's own heap `system` it is another one.
pub fn pooled_heap() -> Result<Heap> {
    let all = figures::read()?.into_iter().map(|(name, _)| name);
    let name = all.into_iter().find(|name| name.starts_with("system"));
    Heap::open(&name.context("no heap has a pool")?)
}

/// Unloads the module, if the kernel supports that, and in any case empties the pools.
pub fn end(module: Module) -> Result<()> {
    drop_caches()?;
    let kept = Figures::settled()?.kept();
    ensure!(kept == 0, "the pools keep {kept} bytes");
    match module.unload() {
        Err(error) if error.downcast_ref::<Skipped>().is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Returns the numbers in the names of the folders in `parent` that begin with `prefix`.
pub fn numbered(parent: &str, prefix: &str) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(parent).with_context(|| format!("cannot list {parent}"))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix(prefix).map(str::parse::<usize>);
        numbers.extend(number.into_iter().flatten());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns the free memory of a node in bytes.
fn free_of(node: usize) -> Result<usize> {
    fs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = fs::read_to_string(format!("{NODES}/node{node}/meminfo"))?;
    let value = text.lines().find_map(|line| line.split_once("MemFree:"));
    let (_, value) = value.context("a node without MemFree")?;
    Ok(value.trim().trim_end_matches(" kB").parse::<usize>()? << 10)
}

/// Returns the first CPU of a node.
fn cpu_of(node: usize) -> Result<usize> {
    let list = fs::read_to_string(format!("{NODES}/node{node}/cpulist"))?;
    let first = list.trim().split(['-', ',']).next().unwrap_or_default();
    first.parse().context("a node without CPUs")
}

// What the pools keep of each node returns to that node.
fn nodes() -> Result<()> {
    const SIZE: usize = 512 * MIB;
    let nodes = numbered(NODES, "node")?;
    if nodes.len() < 2 {
        return Err(skip("the machine has one node of memory"));
    }
    let module = Module::load(PARAMETERS)?;
    let heap = pooled_heap()?;
    drop_caches()?;
    let before: Vec<_> = nodes
        .iter()
        .map(|node| free_of(*node))
        .collect::<Result<_>>()?;
    let mut expected = 0;
    for node in &nodes {
        bind_to_cpu(cpu_of(*node)?)?;
        let buffer = heap.allocate(SIZE)?;
        buffer.map()?.check_zero()?;
        let free: Vec<_> = nodes
            .iter()
            .map(|node| free_of(*node))
            .collect::<Result<_>>()?;
        let taken = before
            .iter()
            .zip(&free)
            .map(|(before, free)| before.saturating_sub(*free));
        diagnose(&format!(
            "from node {node}: taken of each: {:?}",
            taken.collect::<Vec<_>>()
        ));
        drop(buffer);
        expected = expected.max(SIZE);
        let kept = Figures::settled()?.kept();
        ensure!(
            kept >= expected,
            "{kept} bytes are kept, expected {expected}"
        );
    }
    drop_caches()?;
    for (node, before) in nodes.iter().zip(before) {
        let after = free_of(*node)?;
        ensure!(
            after + SLACK >= before,
            "node {node} has {after} free bytes, before {before}"
        );
    }
    drop(heap);
    end(module)
}

/// Sets a CPU online or offline.
fn set_online(cpu: usize, online: bool) -> Result<()> {
    let file = format!("{CPUS}/cpu{cpu}/online");
    fs::write(&file, if online { "1" } else { "0" }).with_context(|| format!("cannot write {file}"))
}

/// Sets all CPUs online again, also if a test fails.
struct AllOnline(Vec<usize>);

impl Drop for AllOnline {
    fn drop(&mut self) {
        for cpu in &self.0 {
            let _ = set_online(*cpu, true);
        }
    }
}

// The pages of a CPU that has gone offline are still in the pool: they are counted, buffers get
// them, and they are freed under pressure.
fn cpu_offline() -> Result<()> {
    let cpus: Vec<_> = numbered(CPUS, "cpu")?
        .into_iter()
        .filter(|cpu| *cpu > 0)
        .collect();
    if cpus.is_empty() {
        return Err(skip("the machine has one CPU"));
    }
    let module = Module::load(PARAMETERS)?;
    let heap = pooled_heap()?;
    drop_caches()?;
    // Single pages are kept by the CPU that frees them.
    let mut buffers = Vec::new();
    for _ in 0..cpus.len() {
        let some = (0..BUFFERS).map(|_| heap.allocate(3 * page_size()));
        buffers.push(some.collect::<Result<Vec<_>>>()?);
    }
    for (cpu, some) in cpus.iter().zip(buffers) {
        bind_to_cpu(*cpu)?;
        drop(some);
    }
    bind_to_cpu(0)?;
    let before = Figures::settled()?;
    ensure!(
        before.kept() >= cpus.len() * BUFFERS * 3 * page_size(),
        "the pools are not full: {before:?}"
    );
    let online = AllOnline(cpus.clone());
    for cpu in &cpus {
        set_online(*cpu, false)?;
    }
    let offline = Figures::settled()?;
    ensure!(
        offline.kept() == before.kept(),
        "{before:?}, without the CPUs {offline:?}"
    );
    // The CPU that is left gets what the others kept.
    let taken = (0..cpus.len() * BUFFERS).map(|_| heap.allocate(3 * page_size()));
    let taken = taken.collect::<Result<Vec<_>>>()?;
    let after = Figures::settled()?;
    ensure!(
        after.kept() <= before.kept() / 10,
        "buffers of the size of all that was kept leave {after:?}, before {before:?}"
    );
    for buffer in &taken {
        buffer.map()?.check_zero()?;
    }
    drop(taken);
    drop(online);
    for cpu in &cpus {
        bind_to_cpu(*cpu)?;
        heap.allocate(page_size())?.map()?.check_zero()?;
    }
    drop(heap);
    end(module)
}
