// SPDX-License-Identifier: GPL-2.0

//! Mapping a buffer, writing a byte to each page, and unmapping it: where the kernel puts the mapping, and at an address that
//! the program has aligned.

use crate::clock::{rounds, Clock};
use crate::figure::{tell, MIB, SIZES};
use crate::side::Side;
use anyhow::{Context, Result};
use guest_support::heap::Heap;
use guest_support::mapping::Mapping;
use guest_support::page_size;

/// What a huge page covers.
const ALIGNMENT: usize = 2 * MIB;

/// An aligned address with nothing at it, nor behind it for `len` bytes.
fn aligned_place(len: usize) -> Result<usize> {
    let room = Mapping::anonymous(len + ALIGNMENT)?;
    Ok(room.address().next_multiple_of(ALIGNMENT))
}

/// How often it is done in a row.
fn repeats(size: usize) -> usize {
    match size {
        0..=MIB => 8,
        _ => 1,
    }
}

pub fn measure(clock: &Clock, side: &Side) -> Result<()> {
    for (name, node) in [("system", "system"), ("cma", side.contiguous_heap())] {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let buffer = heap.allocate(size)?;
            let repeats = repeats(size);
            let measure = |place: Option<usize>| {
                rounds(|| {
                    let mut sum = 0.0;
                    for _ in 0..repeats {
                        let (time, ()) = clock.time(|| {
                            let mapping = match place {
                                None => buffer.map_range(0, size),
                                Some(address) => buffer.map_at(address, size),
                            };
                            let mapping = mapping.context("cannot map the buffer")?;
                            mapping.touch(page_size());
                            drop(mapping);
                            Ok(())
                        })?;
                        sum += time;
                    }
                    Ok([sum / repeats as f64])
                })
            };
            let [anywhere] = measure(None)?;
            tell(&format!("map/{name}"), size, anywhere);
            if size >= ALIGNMENT {
                let [aligned] = measure(Some(aligned_place(size)?))?;
                tell(&format!("map-aligned/{name}"), size, aligned);
            }
        }
    }
    Ok(())
}
