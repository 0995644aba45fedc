// SPDX-License-Identifier: GPL-2.0

//! The nodes under `/proc` and `/sys`.

use crate::sites::{
    boxed,
    fail_each_allocation, //
};
use guest_support::errno_of;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
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
    for path in WRITE_PATHS {
        tests.add(format!("write{path}"), move || {
            fail_each_allocation(&[Errno::ENOMEM], || Ok(()), |()| boxed(write(path)))
        });
    }
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
