// SPDX-License-Identifier: GPL-2.0

//! What is kept of an area stays there when a request fails that it could not have served, or
//! succeeds without it.

use crate::areas;
use crate::kept::{
    self,
    TestArea, //
};
use anyhow::{
    bail,
    ensure,
    Result, //
};
use guest_support::client::Client;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kept_ranges;
use guest_support::ktap::Tests;
use std::time::Instant;

/// Heaps with other memory than the area that is kept.
const OTHERS: [&str; 2] = ["system", "system-dma32"];

/// How often a test is tried if the machine is too slow for what is kept for a second.
const ATTEMPTS: usize = 5;

pub fn add(tests: &mut Tests) {
    for (heap, area) in kept::HEAPS {
        tests.add(format!("kept/hopeless/{heap}/too-large"), move || {
            too_large(heap, area)
        });
        tests.add(format!("kept/hopeless/{heap}/in-use"), move || {
            in_use(heap, area)
        });
        tests.add(format!("kept/hopeless/{heap}/other-heaps"), move || {
            other_heaps(heap, area)
        });
        tests.add(format!("kept/hopeless/{heap}/other-sizes"), move || {
            other_sizes(heap)
        });
    }
}

/// Keeps 4 MiB of the area, calls `request`, and checks that they are still kept.
fn stays(name: &str, area: TestArea, request: impl Fn() -> Result<()>) -> Result<()> {
    let heap = Heap::open(name)?;
    for _ in 0..ATTEMPTS {
        kept_ranges::release()?;
        let before = kept::available(area)?;
        drop(heap.allocate(4 << 20)?);
        let freed = Instant::now();
        request()?;
        let after = kept::available(area)?;
        if freed.elapsed() >= kept_ranges::KEEP_TIME {
            continue;
        }
        ensure!(
            after + (4 << 20) <= before,
            "{before} bytes available before, {after} after: the kept range is gone"
        );
        return Ok(());
    }
    bail!("the machine was too slow {ATTEMPTS} times")
}

fn too_large(name: &str, area: TestArea) -> Result<()> {
    let heap = Heap::open(name)?;
    let total = kept::find(area)?.total;
    stays(name, area, || {
        for size in [total + (1 << 20), 1 << 30, usize::MAX / 2] {
            ensure!(heap.allocate(size).is_err(), "{size} bytes of {total}");
        }
        Ok(())
    })
}

// The rest of the area is in use.
fn in_use(name: &str, area: TestArea) -> Result<()> {
    kept_ranges::release()?;
    let heap = Heap::open(name)?;
    let total = kept::find(area)?.total;
    let _held = heap.allocate(total / 2)?;
    stays(name, area, || {
        let size = total / 4 * 3;
        ensure!(heap.allocate(size).is_err(), "{size} bytes of {total}");
        Ok(())
    })
}

fn other_heaps(name: &str, area: TestArea) -> Result<()> {
    let other_area = kept::HEAPS.iter().find(|(_, other)| *other != area);
    let other_area = other_area.map(|(name, _)| *name);
    for other in OTHERS.into_iter().chain(other_area) {
        let other = Heap::open(other)?;
        stays(name, area, || {
            // More than the heap can give now; for a contiguous heap less than its area.
            let mut held = Vec::new();
            for size in [1 << 30, 16 << 20, 16 << 20] {
                held.extend(other.allocate(size));
            }
            ensure!(held.len() < 3, "3 buffers fit");
            Ok(())
        })?;
    }
    Ok(())
}

// Each new size takes only the place that it gets. The Rockchip heap puts it at the lowest one.
fn other_sizes(name: &str) -> Result<()> {
    let client = areas::client()?;
    let heap = Heap::open(name)?;
    for _ in 0..ATTEMPTS {
        kept_ranges::release()?;
        let sizes = [128 << 10, 256 << 10, 512 << 10];
        let freed = Instant::now();
        let buffers = allocate(&heap, &sizes)?;
        let ranges = ranges(&client, &buffers)?;
        drop(buffers);
        let small = heap.allocate(64 << 10)?;
        let place = areas::range_of(&client, &small)?;
        let again = allocate(&heap, &sizes[1..])?;
        let again = self::ranges(&client, &again)?;
        if freed.elapsed() >= kept_ranges::KEEP_TIME {
            continue;
        }
        ensure!(
            name != "rk-dma-heap-cma" || place.base == ranges[0].base,
            "{place:x?} is not the lowest place, which is in {:x?}",
            ranges[0]
        );
        ensure!(
            again == ranges[1..],
            "{again:x?}: not kept, expected {:x?}",
            &ranges[1..]
        );
        return Ok(());
    }
    bail!("the machine was too slow {ATTEMPTS} times")
}

fn allocate(heap: &Heap, sizes: &[usize]) -> Result<Vec<Buffer>> {
    sizes.iter().map(|size| heap.allocate(*size)).collect()
}

fn ranges(client: &Client, buffers: &[Buffer]) -> Result<Vec<areas::Range>> {
    let of = |buffer| areas::range_of(client, buffer);
    buffers.iter().map(of).collect()
}
