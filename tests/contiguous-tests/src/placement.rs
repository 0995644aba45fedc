// SPDX-License-Identifier: GPL-2.0

//! The Rockchip heap's area up to its last page, and the last reference to a buffer.

use crate::areas::{
    self,
    Range, //
};
use crate::replay::{
    area,
    first_fit,
    AREA_NAME,
    HEAP, //
};
use crate::trees::Tree;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use std::collections::{
    BTreeMap,
    BTreeSet, //
};

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("placement/to-the-last-page", to_the_last_page);
    tests.add(
        "placement/to-the-last-page-of-arrays",
        to_the_last_page_of_arrays,
    );
    tests.add("placement/whole-area", whole_area);
    tests.add("placement/last-importer", last_importer);
    if let Some((name, range)) = tree.carveouts.first() {
        tests.add("placement/carveout-first-fit", || {
            carveout_first_fit(name, *range)
        });
    }
}

fn check_all_free() -> Result<()> {
    let area = areas::find(AREA_NAME)?;
    ensure!(area.available == area.total, "{area:?}");
    Ok(())
}

/// Number of pages that are allocated one by one, each of which takes the kernel some milliseconds.
const LAST_PAGES: usize = 300;

fn to_the_last_page() -> Result<()> {
    let page = page_size();
    let files = LAST_PAGES as u64 + 64;
    setrlimit(Resource::RLIMIT_NOFILE, files as _, files as _)?;
    let heap = Heap::open(HEAP)?;
    for _ in 0..2 {
        let mut held = vec![heap.allocate(area()?.size as usize - LAST_PAGES * page)?];
        for number in 0..LAST_PAGES {
            let buffer = heap.allocate(1);
            held.push(buffer.with_context(|| format!("page {number} of {LAST_PAGES}"))?);
        }
        let area = areas::find(AREA_NAME)?;
        ensure!(area.available == 0, "{area:?}");
        let data = AllocationData::read_write(1);
        expect_errno("one more page", heap.allocate_with(&data), Errno::ENOMEM)?;
        drop(held);
        check_all_free()?;
    }
    Ok(())
}

fn to_the_last_page_of_arrays() -> Result<()> {
    let page = page_size();
    let allocator = Allocator::open()?;
    let first = area()?.size as usize - LAST_PAGES * page;
    let first = allocator.pages(HEAP, Some("filler"), first)?;
    let mut ranges = BTreeSet::new();
    let mut held = Vec::with_capacity(LAST_PAGES);
    for number in 0..LAST_PAGES {
        let array = allocator.pages(HEAP, Some("filler"), 1)?;
        let range = Range::new(array.physical_address(), page as u64);
        ensure!(area()?.contains(&range), "page {number} is at {range:x?}");
        ensure!(
            ranges.insert(range),
            "page {number} was allocated twice: {range:x?}"
        );
        held.push(array);
    }
    let answer = allocator.pages(HEAP, Some("filler"), 1);
    expect_errno("one more page", answer, Errno::ENOMEM)?;
    // Freeing one page makes exactly that page available.
    let middle = held.swap_remove(LAST_PAGES / 2);
    let address = middle.physical_address();
    drop(middle);
    let reallocated = allocator.pages(HEAP, Some("filler"), 1)?;
    ensure!(reallocated.physical_address() == address);
    drop((first, held, reallocated));
    check_all_free()
}

fn whole_area() -> Result<()> {
    let size = area()?.size as usize;
    let heap = Heap::open(HEAP)?;
    for _ in 0..3 {
        let buffer = heap.allocate(size)?;
        ensure!(areas::range_of(&areas::client()?, &buffer)? == area()?);
        buffer.map()?.check_zero()?;
    }
    let allocator = Allocator::open()?;
    let array = allocator.pages(HEAP, None, size)?;
    ensure!(array.physical_address() == area()?.base);
    drop(array);
    let data = AllocationData::read_write(area()?.size + 1);
    expect_errno("more than all", heap.allocate_with(&data), Errno::ENOMEM)?;
    let answer = allocator.pages(HEAP, None, size + 1);
    expect_errno("an array of more than all", answer, Errno::ENOMEM)?;
    check_all_free()
}

// The client's open file is this process's, so the attachments of a child outlive the child.
fn last_importer() -> Result<()> {
    const SIZE: usize = 1 << 20;
    client::load("")?;
    let client = Client::open_device("rkisp@ffa00000")?;
    Child::run(|| {
        let buffer = Heap::open(HEAP)?.allocate(SIZE)?;
        let attachment = client.attach(&buffer)?;
        attachment.map(Direction::Both)?;
        attachment.fill(guest_support::client::View::Cached, 0x5a)?;
        std::mem::forget(attachment);
        Ok(())
    })?
    .succeed()?;
    let area = areas::find(AREA_NAME)?;
    ensure!(
        area.total - area.available == SIZE,
        "{area:?} while a device holds the buffer"
    );
    drop(client);
    eventually(CHILD_TIMEOUT, check_all_free)
}

// The kernel does not count a carveout's free memory: first fit shows that freed ranges are reused.
fn carveout_first_fit(name: &str, area: Range) -> Result<()> {
    let (heap, client, page) = (Heap::open(name)?, areas::client()?, page_size());
    let mut used = BTreeMap::new();
    let mut held = Vec::new();
    let mut random = fastrand::Rng::with_seed(5);
    let pages = area.size as usize / page;
    let mut refused = 0;
    for round in 0..500 {
        if held.len() > 12 {
            let (buffer, base) = held.swap_remove(random.usize(0..held.len()));
            drop::<Buffer>(buffer);
            used.remove(&base);
        }
        let size = page * random.usize(1..=pages / 5);
        match first_fit(&used, area, size as u64) {
            Some(expected) => {
                let buffer = heap.allocate(size)?;
                let range = areas::range_of(&client, &buffer)?;
                ensure!(
                    range.base == expected,
                    "round {round}: at {range:x?}, expected {expected:#x} by first fit"
                );
                ensure!(buffer.map()?.read(0) == 0, "round {round}: not zero");
                buffer.map()?.write(0, 1);
                used.insert(range.base, range.size);
                held.push((buffer, range.base));
            }
            None => {
                refused += 1;
                let data = AllocationData::read_write(size as u64);
                expect_errno("no gap", heap.allocate_with(&data), Errno::ENOMEM)?;
            }
        }
    }
    diagnose(&format!("{refused} of 500 times no gap was large enough"));
    drop(held);
    drop(heap.allocate(area.size as usize)?);
    Ok(())
}
