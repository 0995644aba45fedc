// SPDX-License-Identifier: GPL-2.0

//! Mappings in processes and drivers: a driver that maps a buffer for a process, and a driver that
//! looks up the page table entries of one.

use crate::import_client::open;
use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    Client,
    Entry, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::mapping::Mapping;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use nix::sys::mman::ProtFlags;
use std::os::fd::AsFd;

pub const CASES: &[Case] = &[
    Case::new("device-maps-for-a-process", device_maps_for_a_process),
    Case::new("device-follows-page-tables", device_follows_page_tables),
];

/// Size of a PMD entry with 4 KiB pages.
const HUGE: usize = 2 << 20;

/// Two such ranges, and some smaller runs.
const PAGES: usize = 2 * 512 + 256 + 16 + 3;

/// A driver has no part in a mapping that the exporter has set up for it: it may free what the
/// mapping would need of it, also if no page fault can occur.
fn device_maps_for_a_process(heap: &str) -> Result<()> {
    let client = open()?;
    let page = page_size();
    let own = heap::is_own(heap)?;
    let before = client.late_calls()?;
    for pages in [1, 16, 256, PAGES] {
        let buffer = Heap::open(heap)?.allocate(pages * page)?;
        let whole = buffer.map()?;
        whole.fill(Pattern(11), 0);
        for skew in [0, page, HUGE - page] {
            let what = || format!("{pages} pages, {skew} bytes above an aligned address");
            let device = client.attach(&buffer)?;
            let mapping = device.mmap(pages * page, HUGE, skew).with_context(what)?;
            // The kernel's own `system` heap leaves the driver's operations in place, so there the
            // driver has to wait for the end of the mapping.
            let kept = (!own).then_some(device);
            mapping.check(Pattern(11), 0).with_context(what)?;
            mapping.fill(Pattern(12), 0);
            whole.check(Pattern(12), 0).with_context(what)?;
            whole.fill(Pattern(11), 0);
            if pages > 2 {
                // Splits the area.
                mapping.unmap_range(page, page)?;
                mapping.check_range((pages - 1) * page, page, Pattern(11), 0)?;
            }
            drop(mapping);
            drop(kept);
            let calls = client.late_calls()? - before;
            ensure!(
                calls == 0 || !own,
                "{}: {calls} calls of the driver's operations after it has let go",
                what()
            );
        }
    }
    Ok(())
}

/// Returns the physical address of each page.
fn physical_pages(client: &Client, buffer: &Buffer) -> Result<Vec<u64>> {
    let page = page_size() as u64;
    let segments = client.import(buffer)?.segments()?;
    let pages = segments.iter().flat_map(|segment| {
        (0..segment.length / page).map(|number| segment.physical_address + number * page)
    });
    Ok(pages.collect())
}

/// Returns an offset within a huge entry at which the page in the middle of the buffer may be part
/// of one.
fn huge_skew(physical: &[u64]) -> usize {
    let middle = physical.len() / 2;
    let page = page_size();
    (physical[middle] as usize % HUGE + HUGE - middle * page % HUGE) % HUGE
}

/// Returns whether a huge entry can map the page: the whole range of the entry is in the mapping,
/// and in one aligned piece of memory.
fn may_be_huge(mapping: &Mapping, physical: &[u64], number: usize) -> bool {
    let page = page_size();
    let before = (mapping.address() + number * page) % HUGE / page;
    let Some(first) = number.checked_sub(before) else {
        return false;
    };
    let Some(range) = physical.get(first..first + HUGE / page) else {
        return false;
    };
    let start = range[0];
    start % HUGE as u64 == 0
        && range
            .iter()
            .enumerate()
            .all(|(n, address)| *address == start + (n * page) as u64)
}

/// Returns the entry of each page.
fn entries(client: &Client, mapping: &Mapping) -> Result<Vec<Option<Entry>>> {
    (0..mapping.len())
        .step_by(page_size())
        .map(|offset| Ok(client.follow(mapping.address() + offset)?))
        .collect()
}

/// Checks that each page has its entry, which permits writing if `writable` says so.
fn expect_entries(
    client: &Client,
    mapping: &Mapping,
    physical: &[u64],
    writable: Option<bool>,
) -> Result<()> {
    for (number, found) in entries(client, mapping)?.into_iter().enumerate() {
        let entry = found.with_context(|| format!("page {number} has no entry"))?;
        ensure!(
            entry.physical_address == physical[number],
            "page {number}: {entry:x?}, expected {:x}",
            physical[number]
        );
        ensure!(
            writable.is_none_or(|writable| entry.writable == writable),
            "page {number}: {entry:x?}"
        );
    }
    Ok(())
}

/// A page table walker finds the buffer's memory in a mapping that was touched. Before that, it
/// may miss only what a huge entry will map.
fn device_follows_page_tables(heap: &str) -> Result<()> {
    let client = open()?;
    let page = page_size();
    for pages in [1, 16, PAGES] {
        let buffer = Heap::open(heap)?.allocate(pages * page)?;
        let physical = physical_pages(&client, &buffer)?;
        ensure!(physical.len() == pages, "{} of {pages}", physical.len());
        for skew in [huge_skew(&physical), 0, page] {
            let what = || format!("{pages} pages, {skew} bytes above an aligned address");
            follow(&client, &buffer, &physical, skew).with_context(what)?;
        }
    }
    Ok(())
}

/// Reads from each page.
fn read_pages(mapping: &Mapping) {
    for offset in (0..mapping.len()).step_by(page_size()) {
        mapping.read(offset);
    }
}

fn follow(client: &Client, buffer: &Buffer, physical: &[u64], skew: usize) -> Result<()> {
    let page = page_size();
    let map = || Mapping::aligned(buffer.as_fd(), 0, physical.len() * page, HUGE, skew);
    let touched = [map()?, map()?, map()?];
    for (number, entry) in entries(client, &touched[0])?.iter().enumerate() {
        ensure!(
            entry.is_some() || may_be_huge(&touched[0], physical, number),
            "page {number} has no entry before the first access"
        );
    }
    let [read, written, read_only] = touched;
    read_pages(&read);
    expect_entries(client, &read, physical, None).context("read")?;
    for offset in (0..written.len()).step_by(page) {
        written.write(offset, 1);
    }
    expect_entries(client, &written, physical, Some(true)).context("written")?;
    // The first write to a huge entry that was created by a read.
    read.write(0, 1);
    read.write(read.len() - page, 1);
    expect_entries(client, &read, physical, None).context("read, then written")?;
    read_only.protect(ProtFlags::PROT_READ)?;
    read_pages(&read_only);
    expect_entries(client, &read_only, physical, Some(false)).context("read-only")
}
