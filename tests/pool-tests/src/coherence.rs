// SPDX-License-Identifier: GPL-2.0

//! Data that one side writes is read by the other. One side is the CPU, through a process's mapping
//! and through the kernel's; the other is a device that does not snoop the CPU's caches,
//! represented by a mapping that bypasses them.
//!
//! QEMU without KVM has no caches. There this shows only that all sides access the same memory in
//! the same order; missing cache maintenance is detected on real hardware only. `maintenance`
//! counts the operations in QEMU too.

use crate::HEAPS;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::{
    self,
    Attachment,
    Client,
    View, //
};
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::mapping::WORD;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::pattern::Pattern;

pub fn add(tests: &mut Tests) {
    for heap in HEAPS {
        tests.add(format!("coherence/process/{heap}"), move || process(heap));
        tests.add(format!("coherence/kernel/{heap}"), move || kernel(heap));
    }
}

const PAGES: usize = 256 + 16 + 3;
const ROUNDS: u64 = 8;

fn bytes(pattern: Pattern, len: usize) -> Vec<u8> {
    let words = (0..len).step_by(WORD).map(|offset| pattern.word(offset));
    words.flat_map(u64::to_ne_bytes).collect()
}

fn read(attachment: &Attachment<'_>, view: View, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    attachment.read(view, 0, &mut bytes)?;
    Ok(bytes)
}

/// Accesses to a cached buffer must be bracketed by DMA_BUF_IOCTL_SYNC. An uncached buffer does not
/// need this, so it is omitted.
fn access(name: &str, buffer: &Buffer, body: impl FnOnce() -> Result<()>) -> Result<()> {
    if name.contains("uncached") {
        return body();
    }
    buffer.sync(SYNC_START | SYNC_RW)?;
    body()?;
    buffer.sync(SYNC_END | SYNC_RW)?;
    Ok(())
}

fn process(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let buffer = Heap::open(name)?.allocate(PAGES * page_size())?;
    let device = client.import(&buffer)?;
    let mapping = buffer.map()?;
    for round in 0..ROUNDS {
        let (ours, theirs) = (Pattern(2 * round), Pattern(2 * round + 1));
        access(name, &buffer, || {
            mapping.fill(ours, 0);
            Ok(())
        })?;
        let seen = read(&device, View::Uncached, mapping.len())?;
        ensure!(
            seen == bytes(ours, mapping.len()),
            "round {round}: the device does not read the data of the process"
        );
        device.write(View::Uncached, 0, &bytes(theirs, mapping.len()))?;
        access(name, &buffer, || mapping.check(theirs, 0))?;
    }
    drop((mapping, device, buffer));
    module.unload()
}

fn kernel(name: &str) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let buffer = Heap::open(name)?.allocate(PAGES * page_size())?;
    let len = buffer.size()?;
    let device = client.import(&buffer)?;
    device.vmap()?;
    for round in 0..ROUNDS {
        let (ours, theirs) = (
            bytes(Pattern(2 * round), len),
            bytes(Pattern(2 * round + 1), len),
        );
        access(name, &buffer, || {
            Ok(device.write(View::Kernel, 0, &ours)?)
        })?;
        ensure!(
            read(&device, View::Uncached, len)? == ours,
            "round {round}: the device does not read the data of the kernel"
        );
        device.write(View::Uncached, 0, &theirs)?;
        access(name, &buffer, || {
            ensure!(
                read(&device, View::Kernel, len)? == theirs,
                "round {round}: the kernel does not read the data of the device"
            );
            Ok(())
        })?;
    }
    drop((device, buffer));
    module.unload()
}
