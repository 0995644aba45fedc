// SPDX-License-Identifier: GPL-2.0

//! The cost of mapping a buffer into the kernel and unmapping it, by a driver: the first time, and
//! again. The cost of two ioctls that fail immediately is subtracted from each figure.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    print_figure,
    SIZES, //
};
use crate::side::Side;
use anyhow::Result;
use guest_support::client::{
    self,
    Attachment,
    Client, //
};
use guest_support::heap::Heap;

pub fn measure(clock: &Clock, side: &Side) -> Result<()> {
    client::load("")?;
    let client = Client::open()?;
    let [baseline] = rounds(|| Ok([clock.time(|| Ok(client.no_op()?))?.0]))?;
    let time = |device: &Attachment<'_>| -> Result<f64> {
        let (time, ()) = clock.time(|| {
            device.vmap()?;
            device.vunmap()?;
            Ok(())
        })?;
        Ok(time - 2.0 * baseline)
    };
    for (name, node) in [("system", "system"), ("cma", side.contiguous_heap())] {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let [first, again] = rounds(|| {
                let buffer = heap.allocate(size)?;
                let device = client.attach_sized(&buffer, size)?;
                Ok([time(&device)?, time(&device)?])
            })?;
            print_figure(&format!("vmap-first/{name}"), size, first);
            print_figure(&format!("vmap-again/{name}"), size, again);
        }
    }
    Ok(())
}
