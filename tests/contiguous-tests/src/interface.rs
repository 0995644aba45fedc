// SPDX-License-Identifier: GPL-2.0

//! The module's interface for drivers, tested through a driver that links against it.

use crate::areas;
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    Allocator,
    Interface, //
};
use guest_support::client::View;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::ktap::Tests;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::path::Path;

const ISP: &str = "ffa00000.rkisp";
const NPU: &str = "ff660000.npu";

pub fn add(tests: &mut Tests) {
    tests.add("interface/description", description);
    tests.add("interface/buffers", buffers);
    tests.add("interface/android-every-heap", android_every_heap);
    tests.add("interface/page-arrays", page_arrays);
    tests.add("interface/errors", errors);
    tests.add("interface/own-heap", own_heap);
    tests.add("interface/own-heap-refused", own_heap_refused);
}

fn description() -> Result<()> {
    let description = Allocator::open()?.describe(HEAP)?;
    ensure!(description.name() == HEAP, "{description:?}");
    ensure!(description.no_data == 1, "{description:?}");
    ensure!(description.has_area == 1, "{description:?}");
    ensure!(description.device_bits == 64, "{description:?}");
    ensure!(
        description.set_no_device == -(Errno::EINVAL as i32),
        "{description:?}"
    );
    ensure!(description.set_device == 0, "{description:?}");
    ensure!(description.set_bits == 64, "{description:?}");
    ensure!(description.set_segment_size == u32::MAX, "{description:?}");
    Ok(())
}

fn buffers() -> Result<()> {
    let allocator = Allocator::open()?;
    let client = areas::client()?;
    let thread_name = std::fs::read_to_string("/proc/self/comm")?;
    for (owner, name) in [(Some(NPU), NPU), (None, thread_name.trim())] {
        let held = allocator.buffer(Interface::Rockchip, HEAP, owner, 3 * page_size() - 1)?;
        let buffer = held.export()?;
        let direct = allocator.descriptor(Interface::Rockchip, HEAP, owner, 3 * page_size())?;
        for buffer in [&buffer, &direct] {
            ensure!(buffer.size()? == 3 * page_size());
            let found = buffer.info()?.name;
            ensure!(
                found.as_deref() == Some(name),
                "called {found:?}, expected {name:?}"
            );
            areas::range_of(&client, buffer)?;
            buffer.map()?.check_zero()?;
        }
        // The driver's reference is dropped; the descriptor still holds one.
        drop(held);
        buffer.map()?.check_zero()?;
    }
    Ok(())
}

// The interface of Android supports all heaps, whatever their memory is.
fn android_every_heap() -> Result<()> {
    let allocator = Allocator::open()?;
    let client = areas::client()?;
    for name in heap::names()? {
        let held = allocator
            .buffer(Interface::Android, &name, None, 1 << 16)
            .with_context(|| name.clone())?;
        let buffer = held.export()?;
        ensure!(buffer.size()? == 1 << 16, "{name}");
        buffer.map()?.check_zero()?;
        if !name.starts_with("system") {
            areas::range_of(&client, &buffer).with_context(|| name.clone())?;
        }
        let direct = allocator.descriptor(Interface::Android, &name, None, 1)?;
        ensure!(direct.size()? == page_size(), "{name}");
        direct.map()?.check_zero()?;
    }
    Ok(())
}

// One device writes, another one reads, directly and through the kernel mapping of the module.
fn page_arrays() -> Result<()> {
    let allocator = Allocator::open()?;
    let size = 37 * page_size();
    for _ in 0..3 {
        let array = allocator.pages(HEAP, Some("rkisp-vir0"), size)?;
        let mut bytes = vec![1; size];
        array.device_reads(NPU, 0, &mut bytes)?;
        ensure!(
            bytes.iter().all(|byte| *byte == 0),
            "a new array is not zero"
        );
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = (offset % 251) as u8;
        }
        array.device_writes(ISP, 0, &bytes)?;
        let mut found = vec![0; size];
        array.device_reads(NPU, 0, &mut found)?;
        ensure!(
            found == bytes,
            "a device does not read the data that another one wrote"
        );
        found.fill(0);
        array.read_mapped(0, &mut found)?;
        ensure!(
            found == bytes,
            "the mapping of rk_vmap_contig_pfn() has other data"
        );
    }
    // A dma-buf that is later allocated in the same range is zero.
    let client = areas::client()?;
    let buffer = Heap::open(HEAP)?.allocate(size)?;
    let attachment = client.import(&buffer)?;
    ensure!(attachment.find_nonzero(View::Cached)?.is_none(), "not zero");
    Ok(())
}

fn errors() -> Result<()> {
    let allocator = Allocator::open()?;
    let page = page_size();
    let total = areas::all()?.iter().map(|area| area.total).sum::<usize>();
    for interface in [Interface::Rockchip, Interface::Android] {
        let allocate =
            |heap: &str, size: usize| allocator.buffer(interface, heap, None, size).map(drop);
        expect_errno("no such heap", allocate("nothing", page), Errno::ENXIO)?;
        expect_errno("no name", allocate("", page), Errno::ENXIO)?;
        expect_errno("no bytes", allocate(HEAP, 0), Errno::EINVAL)?;
        expect_errno("wrapping", allocate(HEAP, usize::MAX), Errno::EINVAL)?;
        expect_errno("too much", allocate(HEAP, total + page), Errno::ENOMEM)?;
        let flags = allocator.buffer_with_flags(interface, HEAP, 2).map(drop);
        expect_errno("a heap flag", flags, Errno::EINVAL)?;
    }
    // The only flag is Rockchip's.
    let flags = allocator.buffer_with_flags(Interface::Android, HEAP, 1);
    expect_errno("Rockchip's flag", flags.map(drop), Errno::EINVAL)?;
    allocator.buffer_with_flags(Interface::Rockchip, HEAP, 1)?;
    // The vendor's interface supports only the vendor's heap.
    for name in ["system", "cma"] {
        let answer = allocator
            .buffer(Interface::Rockchip, name, None, page)
            .map(drop);
        expect_errno(name, answer, Errno::ENXIO)?;
    }
    expect_errno(
        "no pages",
        allocator.pages(HEAP, None, 0).map(drop),
        Errno::EINVAL,
    )?;
    let answer = allocator.pages(HEAP, None, usize::MAX).map(drop);
    expect_errno("wrapping pages", answer, Errno::EINVAL)
}

fn own_heap() -> Result<()> {
    const NAME: &str = "test-heap";
    let node = Path::new("/dev/rk_dma_heap").join(NAME);
    let allocator = Allocator::open()?;
    for round in 0..3 {
        allocator.add_heap(NAME, true, false)?;
        let heap = Heap::open_path(&node, OFlag::O_RDONLY)?;
        let buffer = heap.allocate(3 * page_size())?;
        buffer.map()?.check_zero()?;
        let array = allocator.pages(NAME, Some("someone"), 5 * page_size())?;
        drop(array);
        let described = allocator.describe(NAME)?;
        ensure!(
            described.name() == NAME && described.own_data == 1,
            "{described:?}"
        );
        let counts = (described.buffers, described.arrays, described.returned);
        ensure!(counts == (1, 1, 1), "round {round}: {described:?}");
        drop(heap);
        allocator.remove_heap()?;
        ensure!(!node.exists(), "the node still exists");
        buffer.map()?.check_zero()?;
    }
    let answer = allocator.describe(NAME).map(drop);
    expect_errno("a removed heap", answer, Errno::ENXIO)
}

fn own_heap_refused() -> Result<()> {
    let allocator = Allocator::open()?;
    expect_errno(
        "a taken name",
        allocator.add_heap(HEAP, true, false),
        Errno::EINVAL,
    )?;
    expect_errno(
        "no name",
        allocator.add_heap("", true, false),
        Errno::EINVAL,
    )?;
    expect_errno(
        "no allocate",
        allocator.add_heap("test", false, true),
        Errno::EINVAL,
    )?;
    expect_errno(
        "no page arrays",
        allocator.add_heap("test", true, true),
        Errno::EINVAL,
    )?;
    ensure!(!Path::new("/dev/rk_dma_heap/test").exists());
    Ok(())
}
