// SPDX-License-Identifier: GPL-2.0

//! `examples/driver`, as its own Kbuild builds it.
//!
//! C header: `examples/driver/rk_dma_heap_example.h`

use super::MODULE;
use crate::areas::{
    self,
    Range, //
};
use crate::replay::HEAP;
use crate::trees::Tree;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator, //
};
use guest_support::client::Segment;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module::{
    self,
    KernelLog,
    Loaded, //
};
use guest_support::ktap::Tests;
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::path::Path;
use std::time::Duration;

const EXAMPLE: &str = "rk_dma_heap_example";
const NODE: &str = "/dev/rk-dma-heap-example";
const STATE: &str = "/sys/kernel/debug/rk-dma-heap-example/state";
const INFO: &str = "/proc/rk_dma_heap/rk-dma-heap-info";
const DEFERRED: &str = "/sys/kernel/debug/devices_deferred";

const FRAME: usize = 1 << 20;
const RING: usize = 1 << 16;

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("drivers/example/comes-and-goes", || {
        areas::retry(comes_and_goes)
    });
    tests.add("drivers/example/addresses", move || addresses(tree));
    tests.add("drivers/example/copies", copies);
    tests.add("drivers/example/buffer-outlives-driver", outlives);
    tests.add("drivers/example/errors", errors);
    tests.add("drivers/example/waits-for-heap", waits_for_heap);
    // Another tree's heap goes on outside of its area.
    if let Some(area) = tree.rockchip {
        tests.add("drivers/example/no-memory", move || no_memory(area));
    }
}

mod raw {
    nix::ioctl_write_ptr!(allocate, b'x', 0, u64);
    nix::ioctl_write_ptr!(copy, b'x', 1, i32);
}

/// The loaded driver.
struct Example(Loaded);

impl Example {
    fn load(parameters: &str) -> Result<Self> {
        Loaded::new(EXAMPLE, parameters).map(Example)
    }

    /// Unloads the driver, of which nothing must be left.
    fn unload(self) -> Result<()> {
        self.0.unload()?;
        for path in [NODE, STATE] {
            ensure!(!Path::new(path).exists(), "{path} is left");
        }
        let info = std::fs::read_to_string(INFO)?;
        ensure!(!info.contains("example"), "memory is left:\n{info}");
        Ok(())
    }

    fn state(&self) -> Result<State> {
        let text = std::fs::read_to_string(STATE).with_context(|| STATE)?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(State(
            lines
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }
}

/// What the driver shows in debugfs.
struct State(HashMap<String, String>);

impl State {
    fn text(&self, name: &str) -> Result<&str> {
        Ok(self.0.get(name).with_context(|| name.to_owned())?)
    }

    fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.with_context(|| format!("{name} {text}"))
    }
}

/// A program that has opened the driver's node.
struct Program(File);

impl Program {
    fn open() -> Result<Self> {
        Ok(Program(File::open(NODE).context(NODE)?))
    }

    fn allocate(&self, size: u64) -> nix::Result<Buffer> {
        // SAFETY: The argument is valid during the call.
        let fd = unsafe { raw::allocate(self.0.as_raw_fd(), &size) }?;
        // SAFETY: The driver has just created this descriptor.
        Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn copy(&self, fd: i32) -> nix::Result<()> {
        // SAFETY: The argument is valid during the call.
        unsafe { raw::copy(self.0.as_raw_fd(), &fd) }.map(drop)
    }
}

/// Checks that `buffer` begins with the driver's frame and is zero behind it.
fn check_frame(buffer: &Buffer) -> Result<()> {
    let size = buffer.size()?;
    let mapping = buffer.map()?;
    let bytes = buffer.with_cpu_access(|| mapping.copy_out(0, size))?;
    for (index, word) in bytes.chunks_exact(4).enumerate() {
        let expected = if 4 * index < FRAME {
            4 * index as u32
        } else {
            0
        };
        let found = u32::from_le_bytes(word.try_into()?);
        ensure!(
            found == expected,
            "{found:#x} at byte {:#x} of {size:#x}",
            4 * index
        );
    }
    Ok(())
}

fn comes_and_goes() -> Result<()> {
    let load = || {
        let mut log = KernelLog::from_now_on()?;
        let example = Example::load("")?;
        let line = format!("uses heap {HEAP}");
        let messages = log.messages()?;
        ensure!(
            messages.iter().any(|message| message.ends_with(&line)),
            "no {line:?} in {messages:?}"
        );
        Ok(example)
    };
    let check = |_: &Example| {
        let info = std::fs::read_to_string(INFO)?;
        let owned = info.lines().filter(|line| line.contains("example")).count();
        ensure!(owned >= 2, "no ring or no frame of the driver:\n{info}");
        let program = Program::open()?;
        let answer = kernel_module::unload(EXAMPLE);
        expect_errno("the example, whose node is open", answer, Errno::EAGAIN)?;
        drop(program);
        Ok(())
    };
    super::keeps_module_loaded(load, Example::unload)?;
    let heap = Heap::open(HEAP)?;
    areas::held_while_loaded(&heap, FRAME + RING, load, check, Example::unload)
}

// QEMU's machine has no IOMMU here: a DMA address is a physical address.
fn addresses(tree: &'static Tree) -> Result<()> {
    let area = match tree.rockchip {
        Some(name) => {
            let areas = tree.areas()?;
            let found = areas.into_iter().find(|(other, _)| *other == name);
            found.context("no area")?.1
        }
        None => areas::default_area()?,
    };
    let client = areas::client()?;
    let example = Example::load("")?;
    let state = example.state()?;
    ensure!(state.text("heap")? == HEAP);
    for (name, size) in [("ring", RING), ("frame", FRAME)] {
        let range = Range::new(state.number(name)?, size as u64);
        ensure!(
            area.contains(&range),
            "{name}: {range:x?} is not in {area:x?}"
        );
    }
    let program = Program::open()?;
    for (job, size) in [3 * page_size(), FRAME, FRAME + page_size()]
        .into_iter()
        .enumerate()
    {
        let buffer = program.allocate(size as u64)?;
        let range = areas::range_of(&client, &buffer)?;
        program.copy(buffer.raw_fd())?;
        let state = example.state()?;
        ensure!(state.number("jobs")? == job as u64 + 1);
        ensure!(state.number("descriptors")? == 1, "not one segment");
        ensure!(state.number("bytes")? == size.min(FRAME) as u64);
        let target = state.number("target")?;
        ensure!(
            target == range.base,
            "the device would write to {target:#x}, the buffer is {range:x?}"
        );
    }
    drop(program);
    example.unload()
}

fn copies() -> Result<()> {
    let example = Example::load("")?;
    let program = Program::open()?;
    let page = page_size();
    for size in [1, page, 5 * page + 1, FRAME, FRAME + 3 * page] {
        let buffer = program.allocate(size as u64)?;
        ensure!(buffer.size()? == size.next_multiple_of(page));
        buffer.map()?.check_zero()?;
        for _ in 0..2 {
            program.copy(buffer.raw_fd())?;
            check_frame(&buffer)?;
        }
    }
    // Buffers of other heaps. Memory of the system heaps is in pieces.
    let client = areas::client()?;
    let mut most = 0;
    for heap in guest_support::heap::names()? {
        for size in [FRAME - page, FRAME + page] {
            let context = || format!("{heap}, {size:#x} bytes");
            let buffer = Heap::open(&heap)?.allocate(size)?;
            let segments = client.import(&buffer)?.segments()?;
            program.copy(buffer.raw_fd()).with_context(context)?;
            check_frame(&buffer).with_context(context)?;
            let descriptors = check_job(&example.state()?, &segments).with_context(context)?;
            most = most.max(descriptors);
        }
    }
    ensure!(most > 10, "no buffer is in pieces");
    drop(program);
    example.unload()
}

/// Checks that the descriptors of the last job are those for a buffer of these segments, and
/// returns their number.
fn check_job(state: &State, segments: &[Segment]) -> Result<u64> {
    let (mut descriptors, mut bytes, mut target) = (0, 0, 0);
    for segment in segments {
        if bytes >= FRAME as u64 {
            break;
        }
        descriptors += 1;
        bytes += segment.length;
        target = segment.physical_address;
    }
    let found = (
        state.number("descriptors")?,
        state.number("bytes")?,
        state.number("target")?,
    );
    let expected = (descriptors, bytes.min(FRAME as u64), target);
    ensure!(found == expected, "{found:x?} instead of {expected:x?}");
    Ok(descriptors)
}

fn outlives() -> Result<()> {
    let _ = allocator::unload();
    let idle = kernel_module::users(MODULE)?;
    let example = Example::load("")?;
    let program = Program::open()?;
    let buffer = program.allocate(FRAME as u64)?;
    program.copy(buffer.raw_fd())?;
    drop(program);
    example.unload()?;
    check_frame(&buffer)?;
    super::ensure_used(idle, "a buffer is left")?;
    drop(buffer);
    super::unload_and_load(idle, "the buffer has gone")
}

fn errors() -> Result<()> {
    let example = Example::load("")?;
    let program = Program::open()?;
    expect_errno("no bytes", program.allocate(0).map(drop), Errno::EINVAL)?;
    let answer = program.allocate(u64::MAX).map(drop);
    expect_errno("bytes that wrap", answer, Errno::EINVAL)?;
    let answer = program.allocate(1 << 30).map(drop);
    expect_errno("more than there is", answer, Errno::ENOMEM)?;
    expect_errno("no descriptor", program.copy(-1), Errno::EBADF)?;
    let file = File::open("/dev/null")?;
    let answer = program.copy(file.as_raw_fd());
    expect_errno("no dma-buf", answer, Errno::EINVAL)?;
    ensure!(example.state()?.number("jobs")? == 0);
    drop(program);
    example.unload()
}

// The heap is another driver's. The kernel probes again when a driver is bound, here the client.
fn waits_for_heap() -> Result<()> {
    const NAME: &str = "late-heap";
    let allocator = Allocator::open()?;
    let _ = kernel_module::unload("rk_client");
    let example = Example::load(&format!("heap={NAME}"))?;
    let deferred = || -> Result<String> {
        let text = std::fs::read_to_string(DEFERRED).context(DEFERRED)?;
        let line = text.lines().find(|line| line.contains("example"));
        Ok(line.unwrap_or_default().to_owned())
    };
    let reason = deferred()?;
    ensure!(
        reason.ends_with(&format!("there is no heap {NAME} yet")),
        "devices_deferred: {reason:?}"
    );
    ensure!(!Path::new(NODE).exists(), "the node exists without a heap");

    allocator.add_heap(NAME, true, false)?;
    areas::client()?;
    eventually(Duration::from_secs(10), || {
        ensure!(Path::new(NODE).exists(), "not probed again");
        Ok(())
    })?;
    ensure!(deferred()?.is_empty());
    let program = Program::open()?;
    let buffer = program.allocate(1)?;
    program.copy(buffer.raw_fd())?;
    check_frame(&buffer)?;
    let described = allocator.describe(NAME)?;
    ensure!((described.buffers, described.arrays) == (2, 1));
    drop((buffer, program));
    example.unload()?;
    let described = allocator.describe(NAME)?;
    ensure!(described.returned == 1, "the ring was not freed");
    Ok(allocator.remove_heap()?)
}

// Steps of the probe fail, and what the earlier ones have allocated is freed.
fn no_memory(area: &str) -> Result<()> {
    let heap = Heap::open(HEAP)?;
    let available = || Ok::<_, anyhow::Error>(areas::find(area)?.available);
    let before = available()?;
    // Nothing for the ring; nearly enough for it; the ring, and nearly enough for the frame.
    for left in [0, RING - page_size(), RING + FRAME - page_size()] {
        let rest = heap.allocate(before - left)?;
        let mut log = KernelLog::from_now_on()?;
        let example = Example::load("")?;
        let messages = log.messages()?;
        let line = format!("failed with error -{}", Errno::ENOMEM as i32);
        ensure!(
            messages.iter().any(|message| message.ends_with(&line)),
            "no {line:?} in {messages:?}"
        );
        ensure!(!Path::new(NODE).exists(), "the node exists");
        ensure!(available()? == left, "{} bytes are left", available()?);
        example.unload()?;
        drop(rest);
    }
    ensure!(available()? == before);
    Ok(())
}
