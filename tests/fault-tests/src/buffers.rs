// SPDX-License-Identifier: GPL-2.0

//! Operations of programs and importers on buffers.

use crate::sites::{
    boxed,
    fail_each_allocation, //
};
use anyhow::Context;
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::{
    Buffer,
    SetName, //
};
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::Tests;
use nix::errno::Errno;
use std::fs::File;

/// One heap of each memory type.
pub const HEAPS: &[&str] = &[
    "system",
    "system-uncached",
    "system-dma32",
    "system-uncached-dma32",
    "cma",
    "cma-uncached",
    "rk-dma-heap-cma",
];

/// Needs pages of each order that the pools contain, in bytes.
const SIZE: usize = (1 << 20) + (1 << 16) + (1 << 12);

pub fn add(tests: &mut Tests) {
    for heap in HEAPS {
        tests.add(format!("open/{heap}"), move || {
            let path = format!("/dev/dma_heap/{heap}");
            fail_each_allocation(
                &[Errno::ENOMEM],
                || Ok(()),
                |()| boxed(File::open(&path).map_err(|error| guest_support::errno_of(&error))),
            )
        });
        tests.add(format!("allocate/{heap}"), move || {
            fail_each_allocation(
                &[Errno::ENOMEM],
                || Heap::open(heap),
                |heap| boxed(heap.allocate_with(&data(SIZE))),
            )
        });
        with_buffer(tests, "mmap", heap, |buffer| {
            boxed(buffer.map_range(0, SIZE))
        });
        with_buffer(tests, "name", heap, |buffer| {
            boxed(buffer.set_name("faulty", SetName::Pointer64))
        });
        imported(tests, "attach", heap, |client, buffer| {
            client.attach(buffer).map(drop)
        });
        imported(tests, "map", heap, |client, buffer| {
            let attachment = client.attach(buffer)?;
            attachment.map(Direction::Both)
        });
        imported(tests, "kernel-mapping", heap, |client, buffer| {
            client.attach(buffer)?.vmap()
        });
        imported(tests, "cpu-access", heap, |client, buffer| {
            let attachment = client.attach(buffer)?;
            attachment.begin_cpu_access(Direction::Both)?;
            attachment.end_cpu_access(Direction::Both)
        });
    }
}

fn data(len: usize) -> AllocationData {
    AllocationData::read_write(len as u64)
}

fn with_buffer(
    tests: &mut Tests,
    what: &str,
    heap: &'static str,
    run: impl for<'a> Fn(&'a Buffer) -> crate::sites::Outcome<'a> + Copy + 'static,
) {
    tests.add(format!("{what}/{heap}"), move || {
        fail_each_allocation(&[Errno::ENOMEM], || Heap::open(heap)?.allocate(SIZE), run)
    });
}

fn imported(
    tests: &mut Tests,
    what: &str,
    heap: &'static str,
    run: impl Fn(&Client, &Buffer) -> nix::Result<()> + Copy + 'static,
) {
    tests.add(format!("{what}/{heap}"), move || {
        fail_each_allocation(
            &[Errno::ENOMEM],
            || {
                client::load("").context("cannot load the driver rk_client")?;
                Ok((Client::open()?, Heap::open(heap)?.allocate(SIZE)?))
            },
            |(client, buffer)| boxed(run(client, buffer)),
        )
    });
}
