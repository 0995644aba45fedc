// SPDX-License-Identifier: GPL-2.0

//! The cost of mapping a buffer, writing a byte to each page, and unmapping it: at an address that
//! the kernel chooses, and at an address aligned to a huge page.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    print_figure,
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

/// The size of a huge page, in bytes.
const ALIGNMENT: usize = 2 * MIB;

/// Returns an aligned address of an unmapped range of at least `len` bytes.
fn aligned_address(len: usize) -> Result<usize> {
    let reservation = Mapping::anonymous(len + ALIGNMENT)?;
    Ok(reservation.address().next_multiple_of(ALIGNMENT))
}

/// Number of measured positions of a mapping. The address that the kernel chooses varies, and a
/// mapping across a page table boundary needs an additional page table. The positions are a quarter
/// of the range of a page table apart.
const SHIFTS: usize = 4;
const SHIFT: usize = ALIGNMENT / SHIFTS;

/// Moves the address of the next mapping by `count` times [`SHIFT`] while the result is alive.
fn shift_next_mapping(count: usize) -> Result<Option<Mapping>> {
    Ok(match count {
        0 => None,
        _ => Some(Mapping::anonymous(count * SHIFT)?),
    })
}

/// Creates other mappings, as in a real process. The first one shares the upper page tables with
/// the measured mapping. Their number leaves the nodes of the kernel's VMA tree neither full nor
/// nearly empty: with full nodes each new mapping splits a node, which costs 4,000 instructions.
fn neighbours() -> Result<Vec<Mapping>> {
    let first = Mapping::anonymous(SHIFT)?;
    first.touch(page_size());
    let mut all = vec![first];
    // The kernel merges adjacent mappings with the same protection.
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
            let measure = |address: Option<usize>| {
                rounds(|| {
                    let mut sum = 0.0;
                    for count in 0..SHIFTS {
                        let _shift = shift_next_mapping(count)?;
                        let (time, ()) = clock.time(|| {
                            let mapping = match address {
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
            print_figure(&format!("map/{name}"), size, anywhere);
            if size >= ALIGNMENT {
                let [aligned] = measure(Some(aligned_address(size)?))?;
                print_figure(&format!("map-aligned/{name}"), size, aligned);
            }
        }
    }
    Ok(())
}
