// SPDX-License-Identifier: GPL-2.0

//! Why a heap has no memory for a buffer, who holds it, and what helps.

use crate::areas::{
    Areas,
    Backing, //
};
use crate::buffer::Buffer;
use crate::heaps::{
    self,
    Heap, //
};
use crate::ranges::Ranges;
use crate::system::System;
use crate::text;
use std::collections::BTreeMap;

/// The number of processes that are named.
const MAX_HOLDERS: usize = 3;

/// Returns lines that explain why `heap` could not allocate `size` bytes. There are none if nothing
/// is known of the heap.
pub fn explain(system: &System, heap: &str, size: u64) -> Vec<String> {
    let areas = Areas::read(system);
    let ranges = Ranges::read(system);
    let all = heaps::all(system, &areas, &ranges);
    let Some(found) = all.iter().find(|other| other.heap == heap) else {
        return Vec::new();
    };
    let mut lines = memory(system, found);
    let in_same_memory = |buffer: &&Buffer| {
        let other = all.iter().find(|other| other.heap == buffer.exporter);
        other.is_some_and(|other| shares_memory(found, other))
    };
    let buffers = ranges.survey.buffers.iter().filter(in_same_memory);
    lines.extend(holders(buffers));
    lines.push(advice(found, size));
    lines
}

/// Returns whether two heaps take memory from each other.
fn shares_memory(one: &Heap, other: &Heap) -> bool {
    let pages = |heap: &Heap| matches!(heap.backing, Backing::Pages | Backing::PagesBelow4Gib);
    let in_ram = |heap: &Heap| pages(heap) || heap.could_take_ram.is_some();
    (one.area.is_some() && one.area == other.area) || (in_ram(one) && in_ram(other))
}

/// Describes the memory of a heap.
fn memory(system: &System, heap: &Heap) -> Vec<String> {
    let size = |size: Option<u64>| size.map_or("unknown".to_owned(), text::size);
    let mut lines = Vec::new();
    if let Some(area) = &heap.area {
        let gap = match heap.largest_free {
            Some(_) if heap.largest_free_at_most => {
                format!(", largest gap at most {}", size(heap.largest_free))
            }
            Some(gap) => format!(", largest gap {}", text::size(gap)),
            None => String::new(),
        };
        let what = match heap.backing {
            Backing::Carveout => "carveout",
            _ => "area",
        };
        lines.push(format!(
            "{what} {}: {}, free {}{gap}",
            text::escaped(area),
            size(heap.size),
            size(heap.free)
        ));
    }
    if let Some(spare) = heap.could_take_ram {
        lines.push(format!(
            "RAM: {} could be taken, {} are left up to the limit contig_max_percent",
            text::size(spare),
            size(heap.beyond_left)
        ));
    }
    if matches!(heap.backing, Backing::Pages | Backing::PagesBelow4Gib) {
        lines.push(format!(
            "RAM: {}, available {}",
            size(heaps::memory_info(system, "MemTotal:")),
            size(heaps::memory_info(system, "MemAvailable:"))
        ));
    }
    lines
}

/// Names the processes that hold most of `buffers`. Each buffer counts for one of them.
fn holders<'a>(buffers: impl Iterator<Item = &'a Buffer>) -> Option<String> {
    let mut sums: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for buffer in buffers {
        let holder = match (buffer.holders.first(), &buffer.thread, buffer.pid) {
            (Some(holder), ..) => format!("{} ({})", text::escaped(&holder.name), holder.pid),
            (None, Some(thread), Some(pid)) => {
                format!("buffers that {} ({pid}) made", text::escaped(thread))
            }
            _ => "unknown processes".to_owned(),
        };
        let sum = sums.entry(holder).or_default();
        *sum = (sum.0.saturating_add(buffer.size), sum.1 + 1);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    let named: Vec<String> = sums
        .iter()
        .take(MAX_HOLDERS)
        .map(|(holder, (bytes, count))| {
            format!(
                "{holder} {} in {}",
                text::size(*bytes),
                text::plural(*count, "buffer")
            )
        })
        .collect();
    (!named.is_empty()).then(|| format!("held by {}", named.join(", ")))
}

/// Says what helps.
fn advice(heap: &Heap, size: u64) -> String {
    let is_less = |have: Option<u64>| have.is_some_and(|have| have < size);
    let name = text::escaped(&heap.heap);
    let more = if heap.default_area {
        "boot with a larger cma=SIZE".to_owned()
    } else {
        "enlarge its node in the device tree".to_owned()
    };
    if let Some(spare) = heap.could_take_ram {
        return if is_less(heap.beyond_left) {
            "that is more than is left up to the limit: close buffers, or load the module with a \
             larger contig_max_percent"
                .to_owned()
        } else if spare < size {
            "RAM is short: close programs or buffers".to_owned()
        } else {
            "RAM is in pieces, between memory that cannot be moved: allocate soon after boot, in \
             smaller buffers, or set memory aside by booting with cma=SIZE"
                .to_owned()
        };
    }
    match heap.backing {
        Backing::Area | Backing::Carveout if is_less(heap.size) => {
            format!("the buffer is larger than all of it: {more}")
        }
        Backing::Area | Backing::Carveout if is_less(heap.free) => {
            format!("close buffers, or {more}")
        }
        Backing::Area | Backing::Carveout if is_less(heap.largest_free) => format!(
            "what is free is in pieces: `rkheap map {name}` shows who holds what lies between"
        ),
        Backing::Area => "pages of programs and files that cannot be moved at present may be in \
                          the way: try again"
            .to_owned(),
        Backing::Pages | Backing::PagesBelow4Gib => {
            "close programs or buffers; a buffer larger than max_percent of RAM is refused"
                .to_owned()
        }
        _ => "close buffers".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Holder;

    const MIB: u64 = 1 << 20;

    fn heap() -> Heap {
        Heap {
            heap: "cma".into(),
            backing: Backing::Area,
            area: Some("linux,cma".into()),
            default_area: true,
            size: Some(64 * MIB),
            free: Some(8 * MIB),
            largest_free: Some(2 * MIB),
            ..Heap::default()
        }
    }

    #[test]
    fn advice_depends_on_what_is_missing() {
        let area = heap();
        assert!(advice(&area, 65 * MIB).contains("cma=SIZE"));
        assert!(advice(&area, 9 * MIB).starts_with("close buffers"));
        assert!(advice(&area, 3 * MIB).contains("rkheap map cma"));
        assert!(advice(&area, 2 * MIB).contains("try again"));
        let with_ram = Heap {
            could_take_ram: Some(100 * MIB),
            beyond_left: Some(200 * MIB),
            ..heap()
        };
        assert!(advice(&with_ram, 201 * MIB).contains("contig_max_percent"));
        assert!(advice(&with_ram, 101 * MIB).starts_with("RAM is short"));
        assert!(advice(&with_ram, 99 * MIB).contains("in pieces"));
        let other = Heap {
            default_area: false,
            ..heap()
        };
        assert!(advice(&other, 65 * MIB).contains("device tree"));
    }

    #[test]
    fn the_largest_holders_are_named() {
        let buffer = |pid: u32, size: u64| Buffer {
            size,
            holders: vec![Holder {
                pid,
                name: "x\x1b".into(),
                ..Holder::default()
            }],
            ..Buffer::default()
        };
        let buffers = [
            buffer(1, MIB),
            buffer(2, 2 * MIB),
            buffer(1, 2 * MIB),
            buffer(3, 4096),
            buffer(4, 8192),
        ];
        assert_eq!(
            holders(buffers.iter()).as_deref(),
            Some(
                "held by x\\u{1b} (1) 3 MiB in 2 buffers, x\\u{1b} (2) 2 MiB in 1 buffer, \
                 x\\u{1b} (4) 8 KiB in 1 buffer"
            )
        );
        assert_eq!(holders([].iter()), None);
    }

    #[test]
    fn heaps_of_one_area_and_heaps_of_ram_share_memory() {
        let pages = Heap {
            backing: Backing::Pages,
            ..Heap::default()
        };
        assert!(shares_memory(&heap(), &heap()));
        assert!(!shares_memory(&heap(), &pages));
        let with_ram = Heap {
            could_take_ram: Some(0),
            ..heap()
        };
        assert!(shares_memory(&with_ram, &pages));
    }
}
