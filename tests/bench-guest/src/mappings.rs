// SPDX-License-Identifier: GPL-2.0

//! Mapping a buffer, writing a byte to each page, and unmapping it: where the kernel puts the
//! mapping, and at an address that the program has aligned.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    tell,
    MIB,
    SIZES, //
};
use crate::side::Side;
use anyhow::{
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::mapping::Mapping;
use guest_support::page_size;
use nix::sys::mman::ProtFlags;

/// What a huge page covers.
const ALIGNMENT: usize = 2 * MIB;

/// An aligned address with nothing at it, nor behind it for `len` bytes.
fn aligned_place(len: usize) -> Result<usize> {
    let room = Mapping::anonymous(len + ALIGNMENT)?;
    Ok(room.address().next_multiple_of(ALIGNMENT))
}

/// Where the kernel puts a mapping is chance, and one that lies across a boundary needs a page
/// table more. So it is measured with so many others above it in turn, each of a quarter of what a
/// page table covers.
const SHIFTS: usize = 4;
const SHIFT: usize = ALIGNMENT / SHIFTS;

/// Nothing, or a mapping that moves what is mapped next.
fn shifted(by: usize) -> Result<Option<Mapping>> {
    Ok(match by {
        0 => None,
        _ => Some(Mapping::anonymous(by * SHIFT)?),
    })
}

/// Mappings such as a process has. With one of them upper page tables are shared. They are so many
/// that the kernel's tree of mappings has nodes neither full nor nearly empty: at a bad number each
/// further mapping splits a node, which takes 4,000 more.
fn neighbours() -> Result<Vec<Mapping>> {
    let first = Mapping::anonymous(SHIFT)?;
    first.touch(page_size());
    let mut all = vec![first];
    // Neighbours with the same protection would be one.
    for protection in [ProtFlags::PROT_NONE, ProtFlags::PROT_READ].repeat(3) {
        let neighbour = Mapping::anonymous(page_size())?;
        neighbour.protect(protection)?;
        all.push(neighbour);
    }
    Ok(all)
}

pub fn measure(clock: &Clock, side: &Side) -> Result<()> {
    let _neighbours = neighbours()?;
    for (name, node) in [("system", "system"), ("cma", side.contiguous_heap())] {
        let heap = Heap::open(node)?;
        for size in SIZES {
            let buffer = heap.allocate(size)?;
            let measure = |place: Option<usize>| {
                rounds(|| {
                    let mut sum = 0.0;
                    for by in 0..SHIFTS {
                        let _shifted = shifted(by)?;
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
                    Ok([sum / SHIFTS as f64])
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
