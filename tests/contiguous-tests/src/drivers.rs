// SPDX-License-Identifier: GPL-2.0

//! Drivers as they are: written for a vendor's kernel, and gone while others use what was theirs;
//! and the example that authors of drivers start from.

mod calls;
mod example;

use crate::areas;
use crate::replay::HEAP;
use crate::trees::Tree;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator,
    Check,
    HeapOptions,
    Interface, //
};
use guest_support::client::MemoryType;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::kernel_module::{
    self,
    Loaded, //
};
use guest_support::ktap::Tests;
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::path::{
    Path,
    PathBuf, //
};
use std::time::Duration;

const MODULE: &str = "rk_dma_heap";
const MODULE_FILE: &str = "/lib/modules/rk_dma_heap.ko";
const VENDOR_DRIVER: &str = "rk_vendor_driver";
const SINGLE_PAGES: &str = "rk-system-heap";
const UNCACHED: u64 = 1;

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("drivers/vendor", vendor);
    tests.add("drivers/own-device", own_device);
    tests.add("drivers/removed-heap", removed_heap);
    tests.add("drivers/forgotten-heap", forgotten_heap);
    tests.add("drivers/second-driver", second_driver);
    calls::add(tests);
    example::add(tests, tree);
    tests.add("drivers/unbound-device", || {
        Ok(Allocator::open()?.check(Check::UnboundDevice)?)
    });
    tests.add("drivers/single-pages", single_pages);
    tests.add("drivers/own-single-pages", own_single_pages);
    tests.add("drivers/totals", totals);
    tests.add("drivers/uncached", uncached);
    if tree.name == "memory-cut" {
        tests.add("placement/carveout/frames-without-pages", || {
            // In the second half of the memory, which mem= hides from the kernel.
            let check = Check::Frames(0x7800_0000, 16 * page_size());
            Ok(Allocator::open()?.check(check)?)
        });
    }
}

fn node(heap: &str) -> PathBuf {
    Path::new("/dev/rk_dma_heap").join(heap)
}

/// The loaded vendor driver.
struct VendorDriver {
    _loaded: Loaded,
}

impl VendorDriver {
    fn load(parameters: &str) -> Result<Self> {
        let loaded =
            Loaded::new(VENDOR_DRIVER, parameters).context("a step of the vendor driver failed")?;
        Ok(VendorDriver { _loaded: loaded })
    }

    /// Allocates from the heap of the parameter `heap`.
    fn allocate(&self) -> nix::Result<()> {
        let parameter = "/sys/module/rk_vendor_driver/parameters/allocate";
        std::fs::write(parameter, "1")
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

// It never puts a heap. Its symbols alone keep the module loaded.
fn vendor() -> Result<()> {
    for _ in 0..2 {
        keeps_module_loaded(
            || VendorDriver::load(""),
            |driver| {
                drop(driver);
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Checks that a driver keeps the module loaded until it is unloaded, and not beyond that. Nothing
/// else may use the module, but a kernel that cannot remove its heaps. Loads it again if it can.
pub fn keeps_module_loaded<D>(
    load: impl FnOnce() -> Result<D>,
    unload: impl FnOnce(D) -> Result<()>,
) -> Result<()> {
    let _ = allocator::unload();
    let idle = idle_users()?;
    let driver = load()?;
    ensure_used(idle, "the driver is linked to it")?;
    unload(driver)?;
    unload_and_load(idle, "the driver has gone")
}

/// Returns how many users the module has without drivers: none, but on a kernel that cannot remove
/// heaps and keeps the module loaded for them.
fn idle_users() -> Result<usize> {
    let users = kernel_module::users(MODULE)?;
    ensure!(
        users == 0 || kernel_keeps_heaps()?,
        "{users} users while no driver is loaded"
    );
    Ok(users)
}

/// Returns whether the kernel has a registry of heaps, from which none can be removed.
fn kernel_keeps_heaps() -> Result<bool> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    Ok(symbols.lines().any(|line| line.ends_with(" dma_heap_add")))
}

/// Checks that something uses the module beside what used it while it was idle.
fn ensure_used(idle: usize, why: &'static str) -> Result<()> {
    let users = kernel_module::users(MODULE)?;
    ensure!(users > idle, "{users} users, {idle} while idle: {why}");
    expect_errno(why, kernel_module::unload(MODULE), Errno::EAGAIN)
}

/// Checks that nothing uses the module but what used it while it was idle. Then unloads it and
/// loads it again, unless the kernel keeps it loaded because it cannot remove heaps.
fn unload_and_load(idle: usize, why_unused: &'static str) -> Result<()> {
    eventually(Duration::from_secs(2), || {
        let users = kernel_module::users(MODULE)?;
        ensure!(
            users == idle,
            "{users} users instead of {idle}: {why_unused}"
        );
        Ok(())
    })?;
    if idle > 0 {
        return Ok(());
    }
    eventually(Duration::from_secs(2), || {
        kernel_module::unload(MODULE).context(why_unused)
    })?;
    Ok(kernel_module::load(
        Path::new(MODULE_FILE),
        "keep_ranges=0",
    )??)
}

fn own_device() -> Result<()> {
    let allocator = Allocator::open()?;
    allocator.add_heap("device-heap", true, false)?;
    // The driver compares the devices of the two heaps under a spin lock.
    let driver = VendorDriver::load("heap=device-heap")?;
    driver.allocate()?;
    drop(driver);
    allocator.remove_heap()?;
    Ok(())
}

fn removed_heap() -> Result<()> {
    const NAME: &str = "removed-heap";
    let allocator = Allocator::open()?;
    allocator.add_heap(NAME, true, false)?;
    let heap = Heap::open_path(&node(NAME), OFlag::O_RDONLY)?;
    let buffer = heap.allocate(page_size())?;
    allocator.remove_heap()?;
    for _ in 0..2 {
        let answer = heap.allocate_with(&AllocationData::read_write(1));
        expect_errno("an open node", answer.map(drop), Errno::ENODEV)?;
    }
    ensure!(!node(NAME).exists(), "the node still exists");
    // The name is free again, and the open node does not lead to the new heap.
    allocator.add_heap(NAME, true, false)?;
    let answer = heap.allocate_with(&AllocationData::read_write(1));
    expect_errno("the old node", answer.map(drop), Errno::ENODEV)?;
    Heap::open_path(&node(NAME), OFlag::O_RDONLY)?.allocate(1)?;
    drop(allocator);
    allocator::unload().context("the driver cannot be unloaded")?;
    let answer = heap.allocate_with(&AllocationData::read_write(1));
    expect_errno("without the driver", answer.map(drop), Errno::ENODEV)?;
    buffer.map()?.check_zero()
}

// Two rounds: the name of a heap that was never put is free after its driver has gone.
fn forgotten_heap() -> Result<()> {
    const NAME: &str = "forgotten-heap";
    for round in 0..2 {
        let allocator = Allocator::open()?;
        allocator
            .add_heap(NAME, true, false)
            .with_context(|| format!("round {round}"))?;
        let heap = Heap::open_path(&node(NAME), OFlag::O_RDONLY)?;
        heap.allocate(page_size())?;
        allocator.forget_heap()?;
        heap.allocate(page_size())?;
        drop(allocator);
        allocator::unload().context("the driver cannot be unloaded")?;
        ensure!(!node(NAME).exists(), "the node still exists");
        let answer = heap.allocate_with(&AllocationData::read_write(1));
        expect_errno("an open node", answer.map(drop), Errno::ENODEV)?;
    }
    Ok(())
}

// The second driver still refers to the heap, with the first driver loaded and without it.
fn second_driver() -> Result<()> {
    const NAME: &str = "shared-heap";
    let allocator = Allocator::open()?;
    allocator.add_heap(NAME, true, false)?;
    let second = VendorDriver::load(&format!("heap={NAME}"))?;
    second.allocate()?;
    allocator.remove_heap()?;
    expect_errno("a removed heap", second.allocate(), Errno::ENODEV)?;
    allocator.add_heap(NAME, true, false)?;
    expect_errno("the old reference", second.allocate(), Errno::ENODEV)?;
    drop(allocator);
    allocator::unload().context("the first driver cannot be unloaded")?;
    expect_errno("without its driver", second.allocate(), Errno::ENODEV)
}

fn single_pages() -> Result<()> {
    let allocator = Allocator::open()?;
    for (round, pages) in [1, 2, 333, 4096, 4096].into_iter().enumerate() {
        allocator
            .check(Check::SinglePages(SINGLE_PAGES, pages, round as u32))
            .with_context(|| format!("{pages} pages"))?;
    }
    let check = |pages| allocator.check(Check::SinglePages(SINGLE_PAGES, pages, 0));
    expect_errno("no pages", check(0), Errno::EINVAL)?;
    let ram = nix::sys::sysinfo::sysinfo()?.ram_total() as usize;
    expect_errno("more than half", check(ram / page_size()), Errno::ENOMEM)?;
    let answer = allocator.check(Check::SinglePages(HEAP, 1, 0));
    expect_errno("a heap without such pages", answer, Errno::EINVAL)?;
    let buffer = allocator.buffer(Interface::Rockchip, SINGLE_PAGES, None, 1);
    expect_errno("buffers", buffer.map(drop), Errno::EINVAL)?;
    ensure!(
        !node(SINGLE_PAGES).exists(),
        "it has no buffers, but a node"
    );
    Ok(())
}

fn own_single_pages() -> Result<()> {
    const NAME: &str = "pages-heap";
    let allocator = Allocator::open()?;
    let options = HeapOptions {
        permit_noalloc: true,
        incomplete: true,
        ..HeapOptions::default()
    };
    allocator.add_heap_with(NAME, options)?;
    let heap = Heap::open_path(&node(NAME), OFlag::O_RDONLY)?;
    let answer = heap.allocate_with(&AllocationData::read_write(1));
    expect_errno("no buffers", answer.map(drop), Errno::EINVAL)?;
    allocator.remove_heap()?;

    allocator.add_heap(NAME, true, false)?;
    allocator.check(Check::SinglePages(NAME, 9, 0))?;
    let described = allocator.describe(NAME)?;
    ensure!((described.arrays, described.returned) == (1, 1));
    allocator.remove_heap()?;
    allocator.add_heap(NAME, false, false)?;
    let answer = allocator.check(Check::SinglePages(NAME, 1, 0));
    expect_errno("without the operation", answer, Errno::EINVAL)?;
    Ok(allocator.remove_heap()?)
}

/// Returns the total of the vendor's list of allocations, in KiB.
fn total_kib() -> Result<u64> {
    let info = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    let total = info.lines().find(|line| line.starts_with("Total : "));
    let kib = total.and_then(|line| line.split_once('(')?.1.strip_suffix(" KiB)"));
    Ok(kib.context("no total")?.parse()?)
}

fn pools_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/sys/kernel/rk_dma_heap/rk_total_pools_kb")?;
    Ok(text.trim().parse()?)
}

fn totals() -> Result<()> {
    let allocator = Allocator::open()?;
    let before = (total_kib()?, pools_kib()?);
    let options = HeapOptions {
        contiguous: true,
        pool_bytes: 1 << 20,
        handed_out: 3 << 20,
        ..HeapOptions::default()
    };
    allocator.add_heap_with("counted-heap", options)?;
    let with = (total_kib()?, pools_kib()?);
    allocator.remove_heap()?;
    let after = (total_kib()?, pools_kib()?);
    ensure!(
        with == (before.0 + (3 << 10), before.1 + 1024),
        "total and pools in KiB: {before:?} before, {with:?} with the heap"
    );
    ensure!(after == before, "{before:?} before, {after:?} after");
    Ok(())
}

fn uncached() -> Result<()> {
    let data = |heap_flags| AllocationData {
        heap_flags,
        ..AllocationData::read_write(2 * page_size() as u64)
    };
    let client = areas::client()?;
    let heap = Heap::open_path(&node(HEAP), OFlag::O_RDONLY)?;
    for (flags, expected) in [
        (0, MemoryType::WriteBack),
        (UNCACHED, MemoryType::WriteCombined),
    ] {
        let buffer = heap.allocate_with(&data(flags))?;
        let mapping = buffer.map()?;
        mapping.check_zero()?;
        let found = client.memory_type(mapping.address())?;
        ensure!(found == expected, "heap flags {flags}: {found:?}");
    }
    for bit in 1..u64::BITS {
        let answer = heap.allocate_with(&data(1 << bit)).map(drop);
        expect_errno("an unknown flag", answer, Errno::EINVAL)?;
    }
    // The same heap in the other directory has no flags.
    let answer = Heap::open(HEAP)?.allocate_with(&data(UNCACHED)).map(drop);
    expect_errno("/dev/dma_heap", answer, Errno::EINVAL)
}
