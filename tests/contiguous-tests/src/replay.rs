// SPDX-License-Identifier: GPL-2.0

//! A camera's session: 44 buffers and page arrays, which fill most of an area without a gap, and go
//! on fitting while they come and go.

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
    Tests, //
};
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

/// The area of tree `rockchip-cma`, which the heap has for itself.
pub const AREA: Range = Range::new(0x4c00_0000, 24 << 20);

/// Recorded on an RV1106; the camera's programs run as this.
const PROGRAM: &str = "vmpi";
const SESSION: &str = include_str!("../data/rv1106-camera-session.tsv");
const TOTAL: u64 = 0x0163_4000;

pub fn add(tests: &mut Tests) {
    tests.add("replay/session", session);
    tests.add_within(
        Duration::from_secs(300),
        "replay/thousand-rounds",
        thousand_rounds,
    );
}

/// A line of the record.
struct Entry {
    pages: bool,
    name: &'static str,
    place: Range,
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
            place: Range::new(AREA.base + offset, size),
            devices,
        })
    }
}

fn record() -> Result<Vec<Entry>> {
    let lines = SESSION.lines().filter(|line| !line.starts_with('#'));
    let entries: Vec<_> = lines.map(Entry::parse).collect::<Result<_>>()?;
    ensure!(entries.len() == 44, "{} entries", entries.len());
    let sum: u64 = entries.iter().map(|entry| entry.place.size).sum();
    ensure!(sum == TOTAL, "{sum:#x} bytes");
    Ok(entries)
}

/// "ffa50000.rkvenc" is device node "rkvenc@ffa50000".
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

/// What an entry is while it lives.
enum Held<'a> {
    Pages(Allocation<'a>),
    Buffer {
        buffer: Buffer,
        _driver: Option<Allocation<'a>>,
        _attachments: Vec<Attachment<'a>>,
    },
}

/// The machine's parts that take part.
struct Stage {
    heap: Heap,
    allocator: Allocator,
    clients: BTreeMap<String, Client>,
}

impl Stage {
    fn open() -> Result<Self> {
        Ok(Stage {
            heap: Heap::open_path(Path::new(NODE), OFlag::O_RDWR)?,
            allocator: Allocator::open()?,
            clients: open_clients()?,
        })
    }

    /// Allocates an entry the way it was: by the program's ioctl, or by a driver; and attaches its
    /// devices.
    fn perform(&self, entry: &Entry) -> Result<Held<'_>> {
        let size = entry.place.size as usize;
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
        // The node lists the last one first.
        let attachments = entry
            .devices
            .iter()
            .rev()
            .map(attach)
            .collect::<Result<_>>()?;
        let name = buffer.info()?.name.unwrap_or_default();
        ensure!(
            name == entry.name,
            "the buffer is called {name:?}, expected {:?}",
            entry.name
        );
        Ok(Held::Buffer {
            buffer,
            _driver: driver,
            _attachments: attachments,
        })
    }

    fn place(&self, held: &Held, entry: &Entry) -> Result<Range> {
        match held {
            Held::Pages(pages) => Ok(Range::new(pages.physical_address(), entry.place.size)),
            Held::Buffer { buffer, .. } => {
                let client = self.clients.values().next().context("no device")?;
                areas::place_of(client, buffer)
            }
        }
    }
}

/// Runs `body` in a process that is called as the camera's.
fn as_program(body: impl FnOnce() -> Result<()>, limit: Duration) -> Result<()> {
    let mut child = Child::run(|| {
        rename_thread(PROGRAM)?;
        body()
    })?;
    let verdict = child.wait(limit)?.context("does not come to an end")?;
    ensure!(
        verdict == guest_support::process::Verdict::Passed,
        "{verdict:?}"
    );
    Ok(())
}

fn session() -> Result<()> {
    as_program(
        || {
            let (stage, entries) = (Stage::open()?, record()?);
            let mut held = Vec::new();
            for (number, entry) in entries.iter().enumerate() {
                let new = stage
                    .perform(entry)
                    .with_context(|| format!("allocation {number}"))?;
                let place = stage.place(&new, entry)?;
                ensure!(
                    place == entry.place,
                    "allocation {number} is at {place:x?}, expected {:x?}",
                    entry.place
                );
                held.push(new);
            }
            let area = areas::find("rockchip-pool@4c000000")?;
            ensure!(area.total - area.available == TOTAL as usize, "{area:?}");
            recording::compare(AREA.base)?;
            drop(held);
            let area = areas::find("rockchip-pool@4c000000")?;
            ensure!(area.total == area.available, "{area:?}");
            Ok(())
        },
        Duration::from_secs(50),
    )
}

/// Where first fit puts `size` bytes, between what is there.
pub fn first_fit(used: &BTreeMap<u64, u64>, area: Range, size: u64) -> Option<u64> {
    let mut place = area.base;
    for (base, length) in used {
        if base - place >= size {
            break;
        }
        place = base + length;
    }
    (area.end() - place >= size).then_some(place)
}

// Every third is freed and comes back, in random order. Each has to lie at the lowest place where
// it fits; so all of them go on fitting where a map of the area says that they do, and only there.
fn thousand_rounds() -> Result<()> {
    let count = checkers::rounds(1000);
    let rounds = || {
        let (stage, entries) = (Stage::open()?, record()?);
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
                let expected = first_fit(&used, AREA, entry.place.size);
                let Some(expected) = expected else {
                    let answer = stage.perform(entry);
                    ensure!(answer.is_err(), "round {round}: {index} fits, but nowhere");
                    refused += 1;
                    continue;
                };
                let new = stage
                    .perform(entry)
                    .with_context(|| format!("round {round}, allocation {index}: {used:x?}"))?;
                let place = stage.place(&new, entry)?;
                ensure!(
                    place.base == expected,
                    "round {round}: {index} is at {:#x}, first fit says {expected:#x}",
                    place.base
                );
                used.insert(place.base, place.size);
                held[*index] = Some((new, place.base));
            }
        }
        diagnose(&format!(
            "{count} rounds; {refused} times there was no gap large enough"
        ));
        drop(held);
        let area = areas::find("rockchip-pool@4c000000")?;
        ensure!(area.total == area.available, "{area:?}");
        Ok(())
    };
    as_program(rounds, Duration::from_secs(290))
}
