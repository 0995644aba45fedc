// SPDX-License-Identifier: GPL-2.0

//! Memory types of mappings, from the page tables of a process and of the kernel, page by page.

use crate::HEAPS;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    MemoryType,
    View, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::module::Module;
use guest_support::page_size;
use nix::sys::mman::ProtFlags;
use std::os::fd::AsFd;

pub fn add(tests: &mut Tests) {
    tests.add("mapping-types/control", control);
    for heap in HEAPS {
        tests.add(format!("mapping-types/user/{heap}"), move || user(heap));
        tests.add(format!("mapping-types/kernel/{heap}"), move || kernel(heap));
    }
}

/// One run of each order of a pool, with 4 KiB pages.
const PAGES: usize = 512 + 256 + 16 + 1;

/// Size of a PMD entry, with 4 KiB pages.
const HUGE: usize = 2 << 20;

fn expected(heap: &str) -> MemoryType {
    if heap.contains("uncached") {
        MemoryType::WriteCombined
    } else {
        MemoryType::WriteBack
    }
}

fn check(heap: &str, offset: usize, found: MemoryType) -> Result<()> {
    let expected = expected(heap);
    ensure!(
        found == expected,
        "{heap}: the page at {offset:#x} is mapped {found:?}, expected {expected:?}"
    );
    Ok(())
}

// Memory that every kernel maps write-back, as a reference for the next tests.
fn control() -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let mapping = Mapping::anonymous(page_size())?;
    mapping.write(0, 1);
    let found = client.memory_type(mapping.address())?;
    ensure!(
        found == MemoryType::WriteBack,
        "a process's own memory: {found:?}"
    );
    ensure!(client.memory_type(0).is_err(), "address 0 is mapped");
    Ok(())
}

fn user(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let page = page_size();
    // First fresh memory, then the same memory from the pool.
    for _ in 0..2 {
        let buffer = heap.allocate(PAGES * page)?;
        let mapping = buffer.map()?;
        for offset in (0..mapping.len()).step_by(page) {
            let found = client.memory_type(mapping.address() + offset)?;
            check(name, offset, found)?;
        }
        // A part that begins within a run.
        let part = buffer.map_range(7 * page, 260 * page)?;
        for offset in (0..part.len()).step_by(page) {
            let found = client.memory_type(part.address() + offset)?;
            check(name, offset + 7 * page, found)?;
        }
        // Also in a mapping that allows huge entries, which page faults create, and after mprotect,
        // after which the kernel creates the entries again.
        let aligned = Mapping::aligned(buffer.as_fd(), 0, PAGES * page, HUGE, 0)?;
        for protection in [
            ProtFlags::PROT_READ,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        ] {
            for mapping in [&mapping, &aligned] {
                for offset in (0..mapping.len()).step_by(page) {
                    mapping.read(offset);
                    let found = client.memory_type(mapping.address() + offset)?;
                    check(name, offset, found)?;
                }
                mapping.protect(protection)?;
                for offset in (0..mapping.len()).step_by(page) {
                    mapping.read(offset);
                    let found = client.memory_type(mapping.address() + offset)?;
                    check(name, offset, found).context("after mprotect")?;
                }
            }
        }
        drop((buffer, mapping, part, aligned));
        crate::figures::Figures::settled()?;
    }
    drop(heap);
    module.unload()
}

fn kernel(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let heap = Heap::open(name)?;
    let buffer = heap.allocate(PAGES * page_size())?;
    let attachment = client.import(&buffer)?;
    attachment.vmap().context("vmap")?;
    for offset in (0..buffer.size()?).step_by(page_size()) {
        check(name, offset, attachment.memory_type(View::Kernel, offset)?)?;
    }
    // For information only. All RAM is in the linear map, but nothing accesses a write-combined
    // buffer through it.
    match attachment.memory_type(View::Cached, 0) {
        Ok(found) => diagnose(&format!("{name}: in the kernel's linear map: {found:?}")),
        Err(errno) => diagnose(&format!("{name}: not in the linear map: {errno:?}")),
    }
    drop(attachment);
    drop((buffer, heap));
    module.unload()
}
