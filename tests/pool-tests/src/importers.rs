// SPDX-License-Identifier: GPL-2.0

//! Devices that do not access a buffer's memory like the CPU does: through a bounce buffer, or
//! through caches. Cached buffers are right for them. Uncached ones have no maintenance that could
//! make them right, so they are refused, and the log says what to use instead.

use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Attachment,
    Client,
    Direction,
    View, //
};
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::{
    skip,
    Tests, //
};
use guest_support::mapping::WORD;
use guest_support::module::Module;
use guest_support::pattern::Pattern;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use std::fs;

pub fn add(tests: &mut Tests) {
    tests.add("unreachable/uncached-is-refused", || {
        need_memory_above()?;
        let sizes = [page_size(), 64 << 10, MIB, 16 * MIB];
        with_client("dma_bits=32", |client| {
            refused_by_map(client, "system-uncached", "system-uncached-dma32", &sizes)
        })
    });
    tests.add("unreachable/cached-is-bounced", || {
        need_memory_above()?;
        with_client("dma_bits=32", |client| bounced(client, "system"))
    });
    tests.add("unreachable/reachable-is-not-split", reachable_is_not_split);
    tests.add("snooping/uncached-is-refused", snooping_uncached);
    tests.add("snooping/cached-is-right", snooping_cached);
    tests.add("forced/uncached-is-left-out", forced_uncached);
    tests.add("forced/cached-is-bounced", || {
        need_forced()?;
        with_client("", |client| {
            ["system", "system-dma32", "cma", "rk-dma-heap-cma"]
                .into_iter()
                .try_for_each(|name| bounced(client, name).context(name))
        })
    });
    tests.add("forced/carveout-is-refused", || {
        need_forced()?;
        with_client("", |client| {
            refused_by_map(client, CARVEOUT, "system", &[page_size(), MIB])
        })
    });
}

/// The carveout of the device trees of these tests.
pub const CARVEOUT: &str = "frames@4e000000";

/// The largest entry of a scatter list that a bounce buffer can serve.
const BOUNCE_BUFFER: u64 = 256 << 10;

/// Skips the test if the machine does not have enough memory above 4 GiB.
pub fn need_memory_above() -> Result<()> {
    let iomem = fs::read_to_string("/proc/iomem")?;
    let above = iomem.lines().any(|line| {
        let range = line.split(" : ").next().unwrap_or("");
        let end = range.split('-').nth(1).unwrap_or("");
        line.ends_with(" : System RAM") && end.len() > 8
    });
    above
        .then_some(())
        .ok_or_else(|| skip("the machine has no memory above 4 GiB"))
}

/// Skips the test if the kernel does not use bounce buffers for all DMA.
fn need_forced() -> Result<()> {
    let forced = fs::read_to_string("/proc/cmdline")?.contains("force");
    forced
        .then_some(())
        .ok_or_else(|| skip("the kernel was booted without swiotlb=force"))
}

/// Loads the module, and the client with these parameters, and unloads both.
pub fn with_client(parameters: &str, body: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
    if client::is_loaded() {
        client::unload()?;
    }
    client::load(parameters)?;
    let client = Client::open()?;
    let module = Module::load("")?;
    let result = body(&client);
    drop(client);
    client::unload()?;
    module.unload()?;
    result
}

/// Checks that the log has one line about heap `name`, which names one of the client's devices and
/// ends with the heap to use instead.
fn check_line(log: &mut KernelLog, name: &str, instead: &str) -> Result<()> {
    let lines: Vec<_> = log
        .messages()?
        .into_iter()
        .filter(|line| line.contains("rk_dma_heap: "))
        .collect();
    let [line] = lines.as_slice() else {
        anyhow::bail!(
            "{} lines in the log instead of one: {lines:#?}",
            lines.len()
        );
    };
    ensure!(
        line.contains(&format!("heap {name}: "))
            && line.ends_with(&format!("; allocate from heap {instead}")),
        "{line:?} does not name heaps {name} and {instead}"
    );
    let devices = fs::read_dir("/sys/bus/platform/drivers/rk-client")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        devices
            .iter()
            .any(|device| line.contains(&format!("device {device}"))),
        "{line:?} names none of {devices:?}"
    );
    Ok(())
}

fn refused_by_map(client: &Client, name: &str, instead: &str, sizes: &[usize]) -> Result<()> {
    let heap = Heap::open(name)?;
    for size in sizes {
        let mut log = KernelLog::from_now_on()?;
        let buffer = heap.allocate(*size)?;
        let device = client.attach(&buffer)?;
        let what = format!("mapping {size} bytes for the device");
        expect_errno(&what, device.map(Direction::Both), Errno::EIO)?;
        check_line(&mut log, name, instead).with_context(|| what)?;
        // The buffer works otherwise.
        buffer.map()?.write(0, 1);
    }
    Ok(())
}

fn bytes(pattern: Pattern, len: usize) -> Vec<u8> {
    let words = (0..len).step_by(WORD).map(|offset| pattern.word(offset));
    words.flat_map(u64::to_ne_bytes).collect()
}

/// Checks that the device reads `pattern`.
pub fn check_device(
    device: &Attachment<'_>,
    view: View,
    pattern: Pattern,
    len: usize,
) -> Result<()> {
    let mut seen = vec![0; len];
    device.read(view, 0, &mut seen)?;
    ensure!(
        seen == bytes(pattern, len),
        "{len} bytes: the device does not read what the CPU has written"
    );
    Ok(())
}

/// Lets the device write `pattern`.
pub fn fill_by_device(
    device: &Attachment<'_>,
    view: View,
    pattern: Pattern,
    len: usize,
) -> Result<()> {
    Ok(device.write(view, 0, &bytes(pattern, len))?)
}

/// Checks that device and CPU read what the other has written, also where a segment of the memory
/// is larger than a bounce buffer can be.
fn bounced(client: &Client, name: &str) -> Result<()> {
    let heap = Heap::open(name)?;
    for size in [page_size(), 64 << 10, MIB, 16 * MIB] {
        let buffer = heap.allocate(size)?;
        let mapping = buffer.map()?;
        let device = client
            .import(&buffer)
            .with_context(|| format!("{size} bytes"))?;
        let segments = device.segments()?;
        ensure!(
            segments
                .iter()
                .all(|segment| segment.length <= BOUNCE_BUFFER),
            "{size} bytes: longer than a bounce buffer: {segments:x?}"
        );
        buffer.with_cpu_access(|| mapping.fill(Pattern(1), 0))?;
        check_device(&device, View::Cached, Pattern(1), size)?;
        fill_by_device(&device, View::Cached, Pattern(2), size)?;
        buffer
            .with_cpu_access(|| mapping.check(Pattern(2), 0))?
            .with_context(|| format!("{size} bytes: what the device has written"))?;
    }
    Ok(())
}

// Drivers rely on contiguous memory being one segment. A bounce buffer elsewhere is no reason to
// split it.
fn reachable_is_not_split() -> Result<()> {
    need_memory_above()?;
    with_client("dma_bits=32", |client| {
        for name in ["cma-dma32", "cma-uncached-dma32"] {
            let buffer = Heap::open(name)?.allocate(4 * MIB)?;
            let segments = client.import(&buffer)?.segments()?;
            ensure!(segments.len() == 1, "{name}: {segments:x?}");
        }
        Ok(())
    })
}

fn snooping_uncached() -> Result<()> {
    with_client("coherent=1", |client| {
        let names = heap::names()?;
        let uncached: Vec<_> = names
            .iter()
            .filter(|name| name.contains("uncached"))
            .collect();
        ensure!(!uncached.is_empty(), "no uncached heap in {names:?}");
        for name in uncached {
            let mut log = KernelLog::from_now_on()?;
            let buffer = Heap::open(name)?.allocate(MIB)?;
            let attached = client.attach(&buffer).map(drop);
            expect_errno(name, attached, Errno::EOPNOTSUPP)?;
            check_line(&mut log, name, &name.replace("-uncached", ""))?;
            buffer.map()?.write(0, 1);
        }
        Ok(())
    })
}

fn snooping_cached() -> Result<()> {
    with_client("coherent=1", |client| {
        for name in ["system", "cma", "rk-dma-heap-cma"] {
            let buffer = Heap::open(name)?.allocate(MIB)?;
            let device = client.import(&buffer).context(name)?;
            buffer.map()?.fill(Pattern(3), 0);
            check_device(&device, View::Cached, Pattern(3), MIB).context(name)?;
        }
        Ok(())
    })
}

fn forced_uncached() -> Result<()> {
    const LEFT_OUT: [&str; 4] = [
        "system-uncached",
        "system-uncached-dma32",
        "cma-uncached",
        "cma-uncached-dma32",
    ];
    need_forced()?;
    let mut log = KernelLog::from_now_on()?;
    let module = Module::load("")?;
    let names = heap::names()?;
    for cached in ["system", "system-dma32", "cma", "cma-dma32"] {
        ensure!(names.iter().any(|name| name == cached), "{names:?}");
    }
    let messages = log.messages()?;
    for name in LEFT_OUT {
        ensure!(
            !names.iter().any(|found| found == name),
            "heap {name} exists, but its memory cannot be cleaned"
        );
        let start = format!("rk_dma_heap: heap {name}: left out, ");
        let end = format!("; allocate from heap {}", name.replace("-uncached", ""));
        let lines = messages
            .iter()
            .filter(|line| line.contains(&start) && line.ends_with(&end));
        ensure!(lines.count() == 1, "heap {name}: {messages:#?}");
    }
    module.unload()
}
