// SPDX-License-Identifier: GPL-2.0

//! The test client itself: it rejects invalid requests, and releases its buffers on close.

use crate::MIB;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction,
    View, //
};
use guest_support::dma_buf;
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::{
    skip,
    Tests, //
};
use guest_support::module::Module;
use guest_support::udmabuf;
use nix::errno::Errno;
use std::path::Path;

pub fn add(tests: &mut Tests) {
    tests.add("client/refuses-nonsense", refuses_nonsense);
    tests.add("client/lets-go", lets_go);
    tests.add("client/sees-what-others-export", sees_what_others_export);
    tests.add("client/segments-as-short-as-declared", || {
        segments_of("max_segment=65536", |length| length <= 1 << 16)
    });
    // The kernel's own heaps do not split segments for such a device either, and drivers rely on
    // that. The kernel's DMA debugging reports it.
    tests.add("undeclared/segments-are-whole", || {
        segments_of("max_segment=0", |length| length == MIB as u64)
    });
}

fn refuses_nonsense() -> Result<()> {
    client::load("")?;
    let module = Module::load("")?;
    let client = Client::open()?;
    let other = Client::open()?;
    let buffer = Heap::open("system")?.allocate(MIB)?;
    let device = client.attach(&buffer)?;
    expect_errno("segments, not mapped", device.segments(), Errno::EINVAL)?;
    expect_errno("unmap, not mapped", device.unmap(), Errno::EINVAL)?;
    expect_errno("vunmap, not mapped", device.vunmap(), Errno::EINVAL)?;
    for view in [View::Cached, View::Uncached, View::Kernel] {
        expect_errno(
            format!("{view:?}, not mapped"),
            device.fill(view, 1),
            Errno::EINVAL,
        )?;
        expect_errno(
            format!("type of {view:?}, not mapped"),
            device.memory_type(view, 0),
            Errno::EINVAL,
        )?;
    }
    device.map(Direction::ToDevice)?;
    // The driver maps as often as it is asked to; the exporter refuses another direction.
    expect_errno(
        "map, mapped",
        device.map(Direction::FromDevice),
        Errno::EBUSY,
    )?;
    device.vmap()?;
    expect_errno("vmap, mapped", device.vmap(), Errno::EBUSY)?;
    let mut bytes = [0; 16];
    for view in [View::Cached, View::Uncached, View::Kernel] {
        device.read(view, MIB - 16, &mut bytes)?;
        for offset in [MIB - 15, MIB, usize::MAX - 8] {
            let what = format!("{view:?}, 16 bytes at {offset:#x}");
            expect_errno(what, device.read(view, offset, &mut bytes), Errno::EINVAL)?;
        }
    }
    let stranger = other.foreign(&device);
    expect_errno("another file's handle", stranger.segments(), Errno::ENOENT)?;
    expect_errno("another file's handle", stranger.unmap(), Errno::ENOENT)?;
    drop(stranger);
    // The attachment still exists.
    ensure!(!device.segments()?.is_empty());
    let pipe = dma_buf::Buffer::from(nix::unistd::pipe()?.0);
    expect_errno("no dma-buf", client.attach(&pipe), Errno::EINVAL)?;
    drop((device, buffer));
    module.unload()
}

fn lets_go() -> Result<()> {
    client::load("")?;
    let module = Module::load("")?;
    let before = dma_buf::totals()?;
    let client = Client::open()?;
    let heap = Heap::open("system")?;
    for _ in 0..10 {
        let buffer = heap.allocate(MIB)?;
        let device = client.import(&buffer)?;
        device.vmap()?;
        // From here on the file owns the attachment.
        std::mem::forget(device);
    }
    drop(heap);
    ensure!(
        dma_buf::totals()?.buffers == before.buffers + 10,
        "an attached buffer was released"
    );
    expect_errno("unloading the client", client::unload(), Errno::EAGAIN)?;
    drop(client);
    ensure!(
        dma_buf::totals()? == before,
        "{:?} are left",
        dma_buf::totals()?
    );
    client::unload()?;
    module.unload()
}

// The client with an exporter outside the module.
fn sees_what_others_export() -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    if !Path::new("/dev/udmabuf").exists() {
        return Err(skip("this kernel has no udmabuf"));
    }
    let buffer = udmabuf::allocate(16 * guest_support::page_size())?;
    let device = client.import(&buffer)?;
    ensure!(device.find_nonzero(View::Cached)?.is_none());
    let mapping = buffer.map()?;
    buffer.with_cpu_access(|| mapping.write(5 * guest_support::page_size(), 1))?;
    for view in [View::Cached, View::Uncached] {
        let found = device.find_nonzero(view)?;
        ensure!(
            found == Some(5 * guest_support::page_size()),
            "{view:?}: found at {found:?}"
        );
    }
    Ok(())
}

/// Checks that a device's segments cover the whole buffer, and that each length is `valid`.
fn segments_of(parameters: &str, valid: impl Fn(u64) -> bool) -> Result<()> {
    let module = Module::load("")?;
    if client::is_loaded() {
        client::unload()?;
    }
    client::load(parameters)?;
    for name in ["system", "cma", "rk-dma-heap-cma"] {
        let buffer = Heap::open(name)?.allocate(MIB)?;
        let client = Client::open()?;
        let device = client.import(&buffer)?;
        let segments = device.segments()?;
        let sum: u64 = segments.iter().map(|segment| segment.length).sum();
        ensure!(sum == MIB as u64, "{name}: {sum} bytes of {MIB}");
        ensure!(
            segments.iter().all(|segment| valid(segment.length)),
            "{name}: {segments:?}"
        );
    }
    client::unload()?;
    module.unload()
}
