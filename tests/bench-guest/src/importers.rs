// SPDX-License-Identifier: GPL-2.0

//! The cost of importing a buffer, and of CPU access while devices have it mapped.
//!
//! The device is the one that `rk_client` registers itself. It does not snoop the caches, so a sync
//! of a cached buffer cleans and invalidates them. The cost of an ioctl that fails immediately is
//! subtracted from each figure.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    print_figure,
    SIZES, //
};
use crate::side::Side;
use anyhow::{
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Attachment,
    Client,
    Direction, //
};
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::expect_errno;
use guest_support::heap::Heap;
use nix::errno::Errno;

/// Flags that every kernel rejects.
const INVALID_SYNC_FLAGS: u64 = 1 << 40;

pub fn measure(clock: &Clock, side: &Side) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let [baseline] = rounds(|| Ok([clock.time(|| Ok(client.no_op()?))?.0]))?;
    for (name, node) in [("system", "system"), ("cma", side.contiguous_heap())] {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let buffer = heap.allocate(size)?;
            let attach = || -> Result<f64> {
                let [use_once] =
                    rounds(|| Ok([clock.time(|| use_once(&client, &buffer, size))?.0]))?;
                Ok(use_once - 4.0 * baseline)
            };
            print_figure(&format!("attach/{name}"), size, attach()?);
            let first = client.import(&buffer)?;
            let entries = first.segments()?.len();
            print_figure(&format!("entries/{name}"), size, entries as f64);
            print_figure(&format!("attach-second/{name}"), size, attach()?);
            drop(first);
            let _view = buffer.map()?;
            print_figure(&format!("attach-viewed/{name}"), size, attach()?);
        }
    }
    let mut heaps = vec!["system"];
    if side.is_ours() {
        heaps.push("system-uncached");
    }
    for heap in heaps {
        measure_sync(clock, &client, heap)?;
    }
    Ok(())
}

fn use_once(client: &Client, buffer: &Buffer, size: usize) -> Result<()> {
    let attachment = client.attach_sized(buffer, size)?;
    attachment.map(Direction::Both)?;
    attachment.unmap()?;
    Ok(())
}

fn measure_sync(clock: &Clock, client: &Client, heap: &str) -> Result<()> {
    let name = heap;
    let heap = Heap::open(heap)?;
    for size in SIZES {
        let buffer = heap.allocate(size)?;
        let rejected = buffer.sync(INVALID_SYNC_FLAGS);
        expect_errno("a sync with invalid flags", rejected, Errno::EINVAL)?;
        let [baseline] = rounds(|| {
            Ok([clock
                .time(|| Ok(buffer.sync(INVALID_SYNC_FLAGS).is_err()))?
                .0])
        })?;
        let mut importers: Vec<Attachment> = Vec::new();
        for count in [1, 8] {
            while importers.len() < count {
                importers.push(client.import(&buffer)?);
            }
            let [sync] = rounds(|| {
                let (time, ()) = clock.time(|| {
                    buffer.sync(SYNC_START | SYNC_RW).context("start")?;
                    buffer.sync(SYNC_END | SYNC_RW).context("end")
                })?;
                Ok([time])
            })?;
            print_figure(&format!("sync-{count}/{name}"), size, sync - 2.0 * baseline);
        }
    }
    Ok(())
}
