// SPDX-License-Identifier: GPL-2.0

//! CMA areas as the kernel reports them, and the physical ranges of buffers.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module::KernelLog;
use guest_support::ktap::diagnose;
use guest_support::{
    memory,
    page_size, //
};
use std::path::Path;

const AREAS: &str = "/sys/kernel/mm/cma";

/// A range of physical memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub base: u64,
    pub size: u64,
}

impl Range {
    pub const fn new(base: u64, size: u64) -> Self {
        Range { base, size }
    }

    pub fn end(&self) -> u64 {
        self.base + self.size
    }

    pub fn contains(&self, other: &Range) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }
}

/// A CMA area, with its total and available bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub name: String,
    pub total: usize,
    pub available: usize,
}

/// Returns the size of a block of pages in bytes. Areas are multiples of it.
pub fn block() -> Result<u64> {
    let info = "/proc/pagetypeinfo";
    let text = std::fs::read_to_string(info).with_context(|| format!("cannot read {info}"))?;
    let pages = text
        .lines()
        .find_map(|line| line.strip_prefix("Pages per block:"))
        .with_context(|| format!("{info} does not state the size of a block"))?;
    Ok(pages.trim().parse::<u64>()? * page_size() as u64)
}

/// Returns all areas, sorted by name.
pub fn all() -> Result<Vec<Area>> {
    let mut areas = Vec::new();
    let folder = std::fs::read_dir(AREAS).with_context(|| format!("cannot list {AREAS}"))?;
    for entry in folder {
        areas.push(find(&entry?.file_name().to_string_lossy())?);
    }
    areas.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(areas)
}

/// Returns the area with that name.
pub fn find(name: &str) -> Result<Area> {
    let read = |file: &str| -> Result<usize> {
        let path = Path::new(AREAS).join(name).join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().parse::<usize>()? * page_size())
    };
    Ok(Area {
        name: name.to_owned(),
        total: read("total_pages")?,
        available: read("available_pages")?,
    })
}

/// Returns `CmaFree` in bytes, after folding in the counters of all CPUs.
///
/// Freed pages may be on a CPU's page lists and are not counted then. The kernel drains the lists
/// when it allocates from an area, so the value is exact directly after an allocation.
pub fn free() -> Result<usize> {
    std::fs::write("/proc/sys/vm/stat_refresh", "1").context("cannot refresh the counters")?;
    memory::meminfo("CmaFree")
}

/// Loads a driver three times and checks that each time it takes `held` bytes of an area until it
/// is unloaded. In between `check` is called with it. `heap` is one of the area.
pub fn held_while_loaded<D>(
    heap: &Heap,
    held: usize,
    load: impl Fn() -> Result<D>,
    check: impl Fn(&D) -> Result<()>,
    unload: impl Fn(D) -> Result<()>,
) -> Result<()> {
    // An allocation makes CmaFree exact, so one precedes each read.
    let page = page_size();
    let first = heap.allocate(page)?;
    let before = free()?;
    for _ in 0..3 {
        let driver = load()?;
        let now = free()?;
        ensure!(
            before == now + held,
            "CmaFree was {before}, is {now} with the driver"
        );
        check(&driver)?;
        unload(driver)?;
        let again = heap.allocate(page)?;
        let now = free()?;
        ensure!(
            before == now + page,
            "CmaFree was {before}, is {now} after unloading"
        );
        drop(again);
    }
    drop(first);
    Ok(())
}

/// Repeats a test that reads [`free`] until it passes, at most five times.
///
/// The kernel may move its own pages into or out of an area at any time. This is rare, so one of
/// several attempts sees only the heap's changes.
pub fn retry(test: impl Fn() -> Result<()>) -> Result<()> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        match test() {
            Ok(()) => return Ok(()),
            Err(error) => diagnose(&format!("once more: {error:#}")),
        }
    }
    test()
}

/// Returns the kernel's log since boot.
pub fn boot_log() -> Result<Vec<String>> {
    KernelLog::from_boot()?.messages()
}

/// Returns the module's log since it was loaded, without its prefix.
pub fn module_log() -> Result<Vec<String>> {
    Ok(boot_log()?
        .iter()
        .filter_map(|line| line.strip_prefix("rk_dma_heap: "))
        // The kernel's message about every out-of-tree module.
        .filter(|line| !line.contains("taint"))
        .map(str::to_owned)
        .collect())
}

/// Returns the range of the default area, from the kernel's log at boot.
pub fn default_area() -> Result<Range> {
    let log = boot_log()?;
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    // "cma: Reserved 64 MiB at 0x..." for the kernel arguments and the configuration.
    let by_argument = log.iter().find_map(|line| {
        let (size, base) = line
            .strip_prefix("cma: Reserved ")?
            .split_once(" MiB at ")?;
        let base = base.split_whitespace().next()?;
        Some(Range::new(number(base)?, size.parse::<u64>().ok()? << 20))
    });
    // "OF: reserved mem: 0xA..0xB (N KiB) map reusable linux,cma" for a device tree node, which
    // one of the trees names differently.
    let by_node = || {
        log.iter().find_map(|line| {
            let range = [" map reusable linux,cma", " map reusable cma"]
                .iter()
                .find_map(|end| line.strip_suffix(end))?;
            let range = range.strip_prefix("OF: reserved mem: ")?;
            let (base, last) = range.split_whitespace().next()?.split_once("..")?;
            let base = number(base)?;
            Some(Range::new(base, number(last)? + 1 - base))
        })
    };
    by_argument
        .or_else(by_node)
        .context("the kernel's log does not state the range of the default area")
}

/// Opens a device that reads buffers.
pub fn client() -> Result<Client> {
    client::load("")?;
    Client::open()
}

/// Returns the physical range of a buffer, which must be contiguous.
pub fn range_of(client: &Client, buffer: &Buffer) -> Result<Range> {
    let segments = client.import(buffer)?.segments()?;
    let (first, rest) = segments
        .split_first()
        .context("a buffer without segments")?;
    let mut range = Range::new(first.physical_address, first.length);
    for segment in rest {
        ensure!(
            segment.physical_address == range.end(),
            "not contiguous: {segments:x?}"
        );
        range.size += segment.length;
    }
    ensure!(
        range.size == buffer.size()? as u64,
        "{range:x?} does not have the buffer's size"
    );
    Ok(range)
}
