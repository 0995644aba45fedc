// SPDX-License-Identifier: GPL-2.0

//! Devices that do not access a buffer's memory like the CPU does: through a bounce buffer, or
//! through caches. Cached buffers are right for them. Uncached ones have no maintenance that could
//! make them right, so they are refused, and the log says what to use instead.

use crate::trace::{
    Probe,
    Trace, //
};
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction,
    View, //
};
use guest_support::dma_buf::Buffer;
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
    tests.add("carveout/mapped-as-memory", carveout_as_memory);
    tests.add("carveout/snooping-device", carveout_snooping);
    tests.add("carveout/behind-a-bus", carveout_behind_a_bus);
    tests.add("iommu/carveout-as-memory", iommu_carveout);
    tests.add("iommu/all-memory-is-reachable", iommu_reachable);
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
const CARVEOUT: &str = "frames@4e000000";

/// The largest entry of a scatter list that a bounce buffer can serve.
const BOUNCE_BUFFER: u64 = 256 << 10;

/// Skips the test if the machine does not have enough memory above 4 GiB.
fn need_memory_above() -> Result<()> {
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
fn with_client(parameters: &str, body: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
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
        let mut seen = vec![0; size];
        device.read(View::Cached, 0, &mut seen)?;
        ensure!(
            seen == bytes(Pattern(1), size),
            "{size} bytes: the device does not read what the CPU has written"
        );
        device.write(View::Cached, 0, &bytes(Pattern(2), size))?;
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
            let mut seen = vec![0; MIB];
            device.read(View::Cached, 0, &mut seen)?;
            ensure!(seen == bytes(Pattern(3), MIB), "{name}: other data");
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

/// Returns the attributes of each call by which a contiguous range is mapped for a device.
fn attributes(body: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
    let trace = Trace::of(&["dma/dma_map_phys"])?;
    body()?;
    trace
        .take()?
        .iter()
        .filter(|event| event.name == "dma_map_phys")
        .map(|event| Ok(event.text("attrs")?.to_owned()))
        .collect()
}

// A mapping of a device's registers has the wrong memory type behind an IOMMU, and no translation of
// addresses behind a bus.
fn carveout_as_memory() -> Result<()> {
    with_client("", |client| {
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let attributes = attributes(|| Ok(drop(client.import(&buffer)?)))?;
        ensure!(
            attributes.len() == 1
                && attributes[0].contains("SKIP_CPU_SYNC")
                && !attributes[0].contains("MMIO"),
            "the carveout was mapped with {attributes:?}"
        );
        check_both_ways(client, &buffer)
    })
}

// No cache has lines of a carveout, so a device that snoops reads the memory too.
fn carveout_snooping() -> Result<()> {
    with_client("coherent=1", |client| {
        check_both_ways(client, &Heap::open(CARVEOUT)?.allocate(MIB)?)
    })
}

fn carveout_behind_a_bus() -> Result<()> {
    const OFFSET: u64 = 1 << 30;
    with_client("", |_| {
        let client = Client::open_device("rkvdec@ffa60000")?;
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let segments = client.import(&buffer)?.segments()?;
        ensure!(
            segments.len() == 1
                && segments[0].dma_address + OFFSET == segments[0].physical_address
                && segments[0].physical_address == 0x4e00_0000,
            "the bus does not translate the addresses: {segments:x?}"
        );
        check_both_ways(&client, &buffer)
    })
}

/// Loads a client that must be behind an IOMMU.
fn with_iommu(parameters: &str, body: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
    with_client(parameters, |client| {
        let group = "/sys/bus/platform/devices/ffa50000.rkvenc/iommu_group/type";
        let group = fs::read_to_string(group).context("the device has no IOMMU")?;
        ensure!(group.starts_with("DMA"), "the IOMMU does not translate");
        body(client)
    })
}

// `prot` is the fifth argument; these are its flags.
fn iommu_carveout() -> Result<()> {
    const READ_WRITE: u64 = 3;
    with_iommu("", |client| {
        let buffer = Heap::open(CARVEOUT)?.allocate(MIB)?;
        let probe = Probe::of("iommu_map", "size=%x3 prot=%x4:x32")?;
        let trace = Trace::of(&[probe.event()])?;
        drop(client.import(&buffer)?);
        let events = trace.take()?;
        drop(trace);
        let calls: Vec<_> = events
            .iter()
            .map(|event| Ok((event.number("size")?, event.number("prot")?)))
            .collect::<Result<_>>()?;
        ensure!(
            calls == [(MIB as u64, READ_WRITE)],
            "the IOMMU mapped (size, flags) {calls:x?}"
        );
        check_both_ways(client, &buffer)
    })
}

// An IOMMU reaches memory that the device's 32 bits do not, so nothing is refused or split.
fn iommu_reachable() -> Result<()> {
    need_memory_above()?;
    with_iommu("dma_bits=32", |client| {
        for name in ["system-uncached", "system"] {
            let buffer = Heap::open(name)?.allocate(16 * MIB)?;
            let segments = client.import(&buffer)?.segments()?;
            ensure!(
                segments.len() == 1 && segments[0].dma_address < 1 << 32,
                "{name}: {segments:x?}"
            );
            ensure!(
                segments[0].physical_address >= 1 << 32,
                "{name}: the memory is not above 4 GiB: {segments:x?}"
            );
        }
        check_both_ways(client, &Heap::open("system-uncached")?.allocate(MIB)?)
    })
}

/// Checks that device and CPU read what the other has written, without cache maintenance.
fn check_both_ways(client: &Client, buffer: &Buffer) -> Result<()> {
    let size = buffer.size()?;
    let mapping = buffer.map()?;
    let device = client.import(buffer)?;
    mapping.fill(Pattern(4), 0);
    let mut seen = vec![0; size];
    device.read(View::Uncached, 0, &mut seen)?;
    ensure!(
        seen == bytes(Pattern(4), size),
        "the device does not read what the CPU has written"
    );
    device.write(View::Uncached, 0, &bytes(Pattern(5), size))?;
    mapping
        .check(Pattern(5), 0)
        .context("what the device has written")
}
