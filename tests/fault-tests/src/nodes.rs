// SPDX-License-Identifier: GPL-2.0

//! The nodes under `/proc` and `/sys`.

use crate::injection::Injection;
use crate::sites::{
    boxed,
    fail_each_allocation, //
};
use anyhow::{
    bail,
    ensure, //
};
use guest_support::errno_of;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::memory::lock_this_process;
use guest_support::vgem::Vgem;
use nix::errno::Errno;
use std::fs::File;
use std::io::{
    Read,
    Write, //
};

const READ_PATHS: &[&str] = &[
    "/proc/rk_dma_heap/heaps",
    "/proc/rk_dma_heap/rk-dma-heap-info",
    "/proc/rk_dmabuf/size",
    "/proc/rk_dmabuf/peak",
    "/proc/rk_dmabuf/peak_bytes",
    "/proc/rk_dmabuf/dev",
    "/proc/rk_dmabuf/sgt",
    "/proc/rk_dmabuf/buffers",
    "/proc/rk_dmabuf/advanced",
    "/sys/kernel/dma_heap/total_pools_kb",
    "/sys/kernel/rk_dma_heap/rk_total_pools_kb",
];

const WRITE_PATHS: &[&str] = &["/proc/rk_dmabuf/peak", "/proc/rk_dmabuf/advanced"];

pub fn add(tests: &mut Tests) {
    for path in READ_PATHS {
        tests.add(format!("read{path}"), move || {
            fail_each_allocation(&[Errno::ENOMEM], some_buffers, |_| boxed(read(path)))
        });
    }
    tests.add("read-advanced/proc/rk_dmabuf/sgt", || {
        std::fs::write("/proc/rk_dmabuf/advanced", "1")?;
        let result = fail_each_allocation(&[Errno::ENOMEM], some_buffers, |_| {
            boxed(read("/proc/rk_dmabuf/sgt"))
        });
        std::fs::write("/proc/rk_dmabuf/advanced", "0")?;
        result
    });
    tests.add("read-after-a-failed-record", missing_records);
    for path in WRITE_PATHS {
        tests.add(format!("write{path}"), move || {
            fail_each_allocation(&[Errno::ENOMEM], || Ok(()), |()| boxed(write(path)))
        });
    }
}

// The buffer of another exporter whose record could not be allocated: whichever node is read next
// has it.
fn missing_records() -> anyhow::Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    drop(Vgem::open()?.allocate(1 << 16)?);
    let mut exported = 0;
    for nth in 1..1000 {
        let mut reached = false;
        for node in ["dev", "sgt", "buffers", "size"] {
            let path = format!("/proc/rk_dmabuf/{node}");
            // It keeps a buffer whose export failed after all.
            let vgem = Vgem::open()?;
            let before = std::fs::read_to_string(&path)?;
            let (buffer, injected) = injection.run(nth, || vgem.allocate(1 << 16).ok())?;
            reached |= injected;
            let after = std::fs::read_to_string(&path)?;
            let added = match node {
                "size" => after != before,
                _ => after.lines().count() == before.lines().count() + 1,
            };
            ensure!(
                (added || buffer.is_none()) && !after.contains("incomplete"),
                "{node} after failure of allocation {nth}: {after:?}, before {before:?}"
            );
            exported += usize::from(injected && buffer.is_some());
        }
        if !reached {
            diagnose(&format!("{exported} buffers were exported with a failure"));
            ensure!(exported > 0, "no failure left a buffer");
            return Ok(());
        }
    }
    bail!("the export still reaches allocation 1000");
}

/// Allocates buffers for the lists.
fn some_buffers() -> anyhow::Result<[guest_support::dma_buf::Buffer; 3]> {
    let allocate = |heap| Heap::open(heap)?.allocate(1 << 16);
    Ok([
        allocate("system")?,
        allocate("cma")?,
        allocate("rk-dma-heap-cma")?,
    ])
}

/// Reads a whole file without allocating memory.
fn read(path: &str) -> nix::Result<()> {
    let mut file = File::open(path).map_err(|error| errno_of(&error))?;
    let mut bytes = [0; 512];
    while file.read(&mut bytes).map_err(|error| errno_of(&error))? > 0 {}
    Ok(())
}

fn write(path: &str) -> nix::Result<()> {
    let mut file = File::options()
        .write(true)
        .open(path)
        .map_err(|error| errno_of(&error))?;
    file.write_all(b"0").map_err(|error| errno_of(&error))
}
