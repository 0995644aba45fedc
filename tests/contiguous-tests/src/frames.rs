// SPDX-License-Identifier: GPL-2.0

//! How many buffers of one size an area holds.

use crate::areas::{
    self,
    Range, //
};
use crate::trees::Tree;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::Client;
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::page_size;
use nix::errno::Errno;

const KIB: usize = 1 << 10;

/// Frames of usual formats, and sizes around those of huge pages.
const SIZES: &[usize] = &[
    // 1080p and 2160p NV12, 1080p RGB24 and XRGB8888, 720p NV12.
    3040 * KIB,
    12_152 * KIB,
    6076 * KIB,
    8104 * KIB,
    1352 * KIB,
    1024 * KIB,
    1028 * KIB,
    2044 * KIB,
    2048 * KIB,
    2052 * KIB,
    3072 * KIB,
    4096 * KIB,
    4100 * KIB,
    6144 * KIB,
    7164 * KIB,
    10_240 * KIB,
];

/// The order to which the kernel's own heaps align at most, in pages: that of its configuration.
const CMA_ALIGNMENT: u32 = 8;

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("frames/as-many-as-in-tree", || as_many_as_in_tree(tree));
    tests.add("frames/as-many-between-others", || {
        as_many_between_others(tree)
    });
    tests.add("frames/huge-pages", || huge_pages(tree));
}

/// Returns an area with a heap that aligns: its name, the heap, and its range.
fn area_of(tree: &Tree) -> Result<(String, &'static str, Range)> {
    if let Some((name, range)) = tree.areas()?.first() {
        return Ok(((*name).to_owned(), name, *range));
    }
    let areas = areas::all()?;
    ensure!(areas.len() == 1, "{areas:?}");
    Ok((areas[0].name.clone(), "cma", areas::default_area()?))
}

/// Returns the free part of the area. What is allocated at boot is at its beginning.
fn free_part(name: &str, range: Range) -> Result<Range> {
    let area = areas::find(name)?;
    let used = (area.total - area.available) as u64;
    Ok(Range::new(range.base + used, range.size - used))
}

/// The number of buffers that the kernel's own heap would place in `free`.
fn in_tree(free: Range, size: usize) -> usize {
    let page = page_size();
    let pages = size.div_ceil(page);
    let order = pages.next_power_of_two().trailing_zeros();
    let align = (page as u64) << order.min(CMA_ALIGNMENT);
    let mut next = free.base.next_multiple_of(align);
    let mut count = 0;
    while next + (pages * page) as u64 <= free.end() {
        next = (next + (pages * page) as u64).next_multiple_of(align);
        count += 1;
    }
    count
}

/// Allocates buffers of one size until the area has no place, and returns their number.
fn fill(heap: &str, size: usize) -> Result<usize> {
    let heap = Heap::open(heap)?;
    let data = AllocationData::read_write(size as u64);
    let mut held = Vec::new();
    loop {
        match heap.allocate_with(&data) {
            Ok(buffer) => held.push(buffer),
            Err(errno) => {
                expect_errno("an area without place", Err::<(), _>(errno), Errno::ENOMEM)?;
                return Ok(held.len());
            }
        }
    }
}

fn as_many_as_in_tree(tree: &Tree) -> Result<()> {
    let (name, heap, range) = area_of(tree)?;
    let free = free_part(&name, range)?;
    for size in SIZES {
        let (expected, count) = (in_tree(free, *size), fill(heap, *size)?);
        diagnose(&format!("{} KiB: {count}, in-tree {expected}", size / KIB));
        ensure!(
            count >= expected,
            "{} KiB: {count} of {expected}",
            size / KIB
        );
    }
    Ok(())
}

/// Places buffers of 1 MiB on all of the area and frees those in `gap`.
fn all_but(tree: &Tree, client: &Client, gap: Range) -> Result<Vec<(Buffer, Range)>> {
    let (_, heap, _) = area_of(tree)?;
    let heap = Heap::open(heap)?;
    let mut held = Vec::new();
    while let Ok(buffer) = heap.allocate_with(&AllocationData::read_write(1024 * KIB as u64)) {
        let place = areas::range_of(client, &buffer)?;
        held.push((buffer, place));
    }
    held.retain(|(_, place)| !gap.contains(place));
    Ok(held)
}

// The gap begins and ends in the middle of a huge page.
fn as_many_between_others(tree: &Tree) -> Result<()> {
    const MIB: u64 = 1 << 20;
    let (_, heap, range) = area_of(tree)?;
    let client = areas::client()?;
    let gap = Range::new(range.base + 3 * MIB, 12 * MIB);
    let _others = all_but(tree, &client, gap)?;
    for size in SIZES.iter().filter(|size| **size > 1024 * KIB) {
        let (expected, count) = (in_tree(gap, *size), fill(heap, *size)?);
        ensure!(
            count >= expected,
            "{} KiB: {count} of {expected}",
            size / KIB
        );
    }
    Ok(())
}

// A buffer of whole huge pages is aligned to them where that costs nothing, also behind a small
// one.
fn huge_pages(tree: &Tree) -> Result<()> {
    let supported = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    let huge = match supported && cfg!(target_pointer_width = "64") && page_size() == 4096 {
        true => 2u64 << 20,
        // Without huge entries the alignment is that of the kernel's own heaps.
        false => 1 << 20,
    };
    let (_, heap, _) = area_of(tree)?;
    let (heap, client) = (Heap::open(heap)?, areas::client()?);
    let _small = heap.allocate(4 * KIB)?;
    for size in [2048, 4096, 8192] {
        let buffer = heap.allocate(size * KIB)?;
        let place = areas::range_of(&client, &buffer)?;
        ensure!(place.base % huge == 0, "{size} KiB at {place:x?}");
    }
    Ok(())
}
