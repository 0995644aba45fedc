// SPDX-License-Identifier: GPL-2.0

//! A camera's session: 44 buffers and page arrays, which fill most of an area without a gap, and
//! which continue to fit while they are freed and allocated again.

use crate::areas::{
    self,
    Range, //
};
use crate::recording;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    Allocation,
    Allocator,
    Interface, //
};
use guest_support::checkers;
use guest_support::client::{
    self,
    Attachment,
    Client,
    Direction, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    skip,
    Tests, //
};
use guest_support::page_size;
use guest_support::process::{
    rename_thread,
    Child, //
};
use nix::fcntl::OFlag;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub const NODE: &str = "/dev/rk_dma_heap/rk-dma-heap-cma";
pub const HEAP: &str = "rk-dma-heap-cma";

/// The name and the base of the area of tree `rockchip-cma`, which only this heap uses.
pub const AREA_NAME: &str = "rockchip-pool@4c000000";
const AREA_BASE: u64 = 0x4c00_0000;

/// Returns that area. It has 24 MiB, or a block of pages if that is larger.
pub fn area() -> Result<Range> {
    let total = areas::find(AREA_NAME)?.total;
    Ok(Range::new(AREA_BASE, total as u64))
}

/// Thread name of the camera's programs. The session was recorded on an RV1106.
const PROGRAM: &str = "vmpi";
const SESSION: &str = include_str!("../data/rv1106-camera-session.tsv");
const TOTAL: u64 = 0x0163_4000;

/// The page size of the machine, in bytes. Ranges are whole pages.
const RECORDED_PAGE: usize = 4096;

pub fn add(tests: &mut Tests) {
    tests.add("replay/session", session);
    tests.add_within(
        Duration::from_secs(300),
        "replay/thousand-rounds",
        thousand_rounds,
    );
}

/// A line of the recording.
struct Entry {
    pages: bool,
    name: &'static str,
    range: Range,
    devices: Vec<&'static str>,
}

impl Entry {
    fn parse(line: &'static str) -> Result<Self> {
        let mut fields = line.split('\t').skip(1);
        let mut next = || {
            fields
                .next()
                .with_context(|| format!("{line:?} has too few fields"))
        };
        let kind = next()?;
        let name = next()?;
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
        let (offset, size) = (number(next()?)?, number(next()?)?);
        let devices = next()?.split(',').filter(|name| !name.is_empty()).collect();
        Ok(Entry {
            pages: kind == "pages",
            name,
            range: Range::new(AREA_BASE + offset, size),
            devices,
        })
    }
}

fn record() -> Result<Vec<Entry>> {
    let lines = SESSION.lines().filter(|line| !line.starts_with('#'));
    let entries: Vec<_> = lines.map(Entry::parse).collect::<Result<_>>()?;
    ensure!(entries.len() == 44, "{} entries", entries.len());
    let sum: u64 = entries.iter().map(|entry| entry.range.size).sum();
    ensure!(sum == TOTAL, "{sum:#x} bytes");
    Ok(entries)
}

/// Returns the device tree node of a device: "rkvenc@ffa50000" for "ffa50000.rkvenc".
fn node_of(device: &str) -> Result<String> {
    let (address, name) = device
        .split_once('.')
        .context("a device without an address")?;
    Ok(format!("{name}@{address}"))
}

fn open_clients() -> Result<BTreeMap<String, Client>> {
    client::load("")?;
    ["ffa50000.rkvenc", "ffa00000.rkisp", "ff660000.npu"]
        .into_iter()
        .map(|device| Ok((device.to_owned(), Client::open_device(&node_of(device)?)?)))
        .collect()
}

/// An allocated entry.
enum Held<'a> {
    Pages(Allocation<'a>),
    Buffer {
        buffer: Buffer,
        _driver: Option<Allocation<'a>>,
        _attachments: Vec<Attachment<'a>>,
    },
}

/// The devices and drivers of the session.
struct Session {
    heap: Heap,
    allocator: Allocator,
    clients: BTreeMap<String, Client>,
}

impl Session {
    fn open() -> Result<Self> {
        Ok(Session {
            heap: Heap::open_path(Path::new(NODE), OFlag::O_RDWR)?,
            allocator: Allocator::open()?,
            clients: open_clients()?,
        })
    }

    /// Allocates an entry as in the recording, by ioctl or by a driver, and attaches its devices.
    fn allocate(&self, entry: &Entry) -> Result<Held<'_>> {
        let size = entry.range.size as usize;
        if entry.pages {
            let pages = self.allocator.pages(HEAP, Some(entry.name), size)?;
            return Ok(Held::Pages(pages));
        }
        let (buffer, driver) = if entry.name == PROGRAM {
            (self.heap.allocate(size)?, None)
        } else {
            let driver =
                self.allocator
                    .buffer(Interface::Rockchip, HEAP, Some(entry.name), size)?;
            (driver.export()?, Some(driver))
        };
        let attach = |device: &&str| -> Result<Attachment<'_>> {
            let client = self.clients.get(*device).context("no such device")?;
            let attachment = client.attach(&buffer)?;
            attachment.map(Direction::Both)?;
            Ok(attachment)
        };
        // The node lists the last attached device first.
        let attachments = entry
            .devices
            .iter()
            .rev()
            .map(attach)
            .collect::<Result<_>>()?;
        let name = buffer.info()?.name.unwrap_or_default();
        ensure!(
            name == entry.name,
            "the buffer's name is {name:?}, expected {:?}",
            entry.name
        );
        Ok(Held::Buffer {
            buffer,
            _driver: driver,
            _attachments: attachments,
        })
    }

    fn range(&self, held: &Held, entry: &Entry) -> Result<Range> {
        match held {
            Held::Pages(pages) => Ok(Range::new(pages.physical_address(), entry.range.size)),
            Held::Buffer { buffer, .. } => {
                let client = self.clients.values().next().context("no device")?;
                areas::range_of(client, buffer)
            }
        }
    }
}

/// Runs `body` in a process with the name of the camera's.
fn as_program(body: impl FnOnce() -> Result<()>, limit: Duration) -> Result<()> {
    if page_size() != RECORDED_PAGE {
        return Err(skip("the session was recorded with pages of 4 KiB"));
    }
    let mut child = Child::run(|| {
        rename_thread(PROGRAM)?;
        body()
    })?;
    let verdict = child.wait(limit)?.context("the process does not finish")?;
    ensure!(
        verdict == guest_support::process::Verdict::Passed,
        "{verdict:?}"
    );
    Ok(())
}

fn session() -> Result<()> {
    as_program(
        || {
            let (session, entries) = (Session::open()?, record()?);
            let mut held = Vec::new();
            for (number, entry) in entries.iter().enumerate() {
                let new = session
                    .allocate(entry)
                    .with_context(|| format!("allocation {number}"))?;
                let range = session.range(&new, entry)?;
                ensure!(
                    range == entry.range,
                    "allocation {number} is at {range:x?}, expected {:x?}",
                    entry.range
                );
                held.push(new);
            }
            let area = areas::find(AREA_NAME)?;
            ensure!(area.total - area.available == TOTAL as usize, "{area:?}");
            recording::compare(AREA_BASE)?;
            drop(held);
            let area = areas::find(AREA_NAME)?;
            ensure!(area.total == area.available, "{area:?}");
            Ok(())
        },
        Duration::from_secs(50),
    )
}

/// Returns the base at which first fit allocates `size` bytes between the used ranges.
pub fn first_fit(used: &BTreeMap<u64, u64>, area: Range, size: u64) -> Option<u64> {
    let mut start = area.base;
    for (base, length) in used {
        if base - start >= size {
            break;
        }
        start = base + length;
    }
    (area.end() - start >= size).then_some(start)
}

// Frees every third entry and allocates it again, in random order. Each must be at the lowest base
// at which it fits, and allocations must fail exactly if first fit finds no gap.
fn thousand_rounds() -> Result<()> {
    let count = checkers::rounds(1000);
    let rounds = || {
        let (session, entries, area) = (Session::open()?, record()?, area()?);
        let mut random = fastrand::Rng::with_seed(4);
        let mut used = BTreeMap::new();
        let mut held: Vec<Option<(Held, u64)>> = entries.iter().map(|_| None).collect();
        let mut refused = 0;
        let mut order: Vec<usize> = (0..entries.len()).collect();
        for round in 0..=count {
            if round > 0 {
                random.shuffle(&mut order);
                for index in &order[..entries.len() / 3] {
                    if let Some((_, base)) = held[*index].take() {
                        used.remove(&base);
                    }
                }
            }
            for index in &order {
                if held[*index].is_some() {
                    continue;
                }
                let entry = &entries[*index];
                let expected = first_fit(&used, area, entry.range.size);
                let Some(expected) = expected else {
                    let answer = session.allocate(entry);
                    ensure!(
                        answer.is_err(),
                        "round {round}: {index} was allocated, but first fit finds no gap"
                    );
                    refused += 1;
                    continue;
                };
                let new = session
                    .allocate(entry)
                    .with_context(|| format!("round {round}, allocation {index}: {used:x?}"))?;
                let range = session.range(&new, entry)?;
                ensure!(
                    range.base == expected,
                    "round {round}: {index} is at {:#x}, expected {expected:#x} by first fit",
                    range.base
                );
                used.insert(range.base, range.size);
                held[*index] = Some((new, range.base));
            }
        }
        diagnose(&format!(
            "{count} rounds; {refused} times no gap was large enough"
        ));
        drop(held);
        let area = areas::find(AREA_NAME)?;
        ensure!(area.total == area.available, "{area:?}");
        Ok(())
    };
    as_program(rounds, Duration::from_secs(290))
}
