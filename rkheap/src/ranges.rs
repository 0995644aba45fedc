// SPDX-License-Identifier: GPL-2.0

//! Addresses of buffers. `rk-dma-heap-info` has the buffers of the Rockchip heap, `sgt` those that
//! a device has mapped, and in advanced mode all of them.

use crate::areas::{
    Area,
    Areas, //
};
use crate::buffer::{
    total_size,
    Buffer, //
};
use crate::layout::{
    HeldRange,
    Layout, //
};
use crate::parse::{
    info_file,
    list_file, //
};
use crate::survey::Survey;
use crate::system::System;
use std::collections::HashMap;

/// Maximum number of attempts to read both lists without a change in between.
const MAX_ATTEMPTS: usize = 5;

/// The address ranges of all buffers and page arrays.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    pub survey: Survey,
    /// By inode number: the first address of each range, and the first address after it.
    buffers: HashMap<u64, Vec<(u64, u64)>>,
    /// Page arrays that drivers allocated.
    arrays: Vec<info_file::Entry>,
    /// Whether addresses are hidden from this user.
    pub hidden: bool,
}

/// The layout of an area, and its allocations at unknown addresses.
#[derive(Clone, Debug, Default)]
pub struct AreaMap {
    /// If the base of the area is unknown, covers the first to the last held range.
    pub layout: Layout,
    /// Whether `layout` covers the whole area.
    pub whole: bool,
    /// Buffers of the area's heaps whose addresses are unknown.
    pub unlocated: Vec<Buffer>,
    /// Buffers of the area's heaps that are in RAM outside of it.
    pub beyond: Vec<Buffer>,
    /// Bytes at unknown addresses, allocated by `unlocated` and by drivers.
    pub unlocated_bytes: u64,
    /// Whether allocations by drivers are known, because the kernel counts them or there are none.
    pub counted: bool,
}

impl Ranges {
    /// Reads all lists of buffers and addresses.
    pub fn read(system: &System) -> Self {
        let mut ranges = Ranges::default();
        for _ in 0..MAX_ATTEMPTS {
            let rows = system
                .read(list_file::SGT)
                .content()
                .map(|content| list_file::parse(&content).items)
                .unwrap_or_default();
            ranges.survey = Survey::take(system);
            ranges.buffers = join(&ranges.survey.buffers, &rows);
            let exact = rows.len() == ranges.survey.buffers.len();
            if exact || rows.is_empty() {
                break;
            }
        }
        let info = system.text(info_file::PATH).unwrap_or_default();
        for entry in info_file::parse(&info).items {
            match entry.inode {
                Some(inode) => {
                    let range = half_open(entry.range);
                    ranges.buffers.insert(inode, vec![range]);
                }
                None => ranges.arrays.push(entry),
            }
        }
        // Hidden addresses read as zero.
        let visible = |range: &(u64, u64)| range.0 != 0 || range.1 > 1;
        let all = ranges.buffers.values().flatten().copied();
        let all: Vec<_> = all
            .chain(ranges.arrays.iter().map(|array| half_open(array.range)))
            .collect();
        ranges.hidden = !all.is_empty() && !all.iter().any(visible);
        if ranges.hidden {
            ranges.buffers.clear();
            ranges.arrays.clear();
        }
        ranges
    }

    /// Returns the layout of an area.
    pub fn of_area(&self, areas: &Areas, area: &Area) -> AreaMap {
        let is_in_area = |heap: &str| areas.of_heap(heap).is_some_and(|of| of.name == area.name);
        let extent = area
            .base
            .zip(area.size)
            .and_then(|(base, size)| Some((base, base.checked_add(size)?)));
        let inside = |range: (u64, u64)| {
            range.0 < range.1
                && extent.is_none_or(|(start, end)| range.0 >= start && range.1 <= end)
        };
        let mut held = Vec::new();
        let mut unlocated = Vec::new();
        let mut beyond = Vec::new();
        let survey = self.survey.buffers.iter();
        for buffer in survey.filter(|buffer| is_in_area(&buffer.exporter)) {
            let ranges = buffer.inode.and_then(|inode| self.buffers.get(&inode));
            let mut located = false;
            for range in ranges.into_iter().flatten().copied().filter(|r| inside(*r)) {
                located = true;
                held.push(HeldRange {
                    start: range.0,
                    end: range.1,
                    heap: buffer.exporter.clone(),
                    name: buffer.name.clone(),
                    inode: buffer.inode,
                    pid: buffer.pid,
                    process: buffer.thread.clone(),
                });
            }
            match ranges {
                _ if located => {}
                Some(_) if extent.is_some() => beyond.push(buffer.clone()),
                _ => unlocated.push(buffer.clone()),
            }
        }
        for array in self.arrays.iter().filter(|array| is_in_area(&array.heap)) {
            let range = half_open(array.range);
            if inside(range) {
                held.push(HeldRange {
                    start: range.0,
                    end: range.1,
                    heap: array.heap.clone(),
                    name: Some(array.name.clone()),
                    ..HeldRange::default()
                });
            }
        }
        let (start, end) = extent.unwrap_or_else(|| {
            let start = held.iter().map(|held| held.start).min();
            let end = held.iter().map(|held| held.end).max();
            (start.unwrap_or(0), end.unwrap_or(0))
        });
        let layout = Layout::new(start, end, held);
        let unlocated_buffers = total_size(&unlocated);
        let unlocated_bytes = match (area.size, area.available) {
            (Some(size), Some(available)) => {
                size.saturating_sub(available).saturating_sub(layout.used())
            }
            _ => unlocated_buffers,
        };
        AreaMap {
            layout,
            whole: extent.is_some(),
            unlocated,
            beyond,
            unlocated_bytes,
            counted: area.carveout || area.size.and(area.available).is_some(),
        }
    }
}

impl AreaMap {
    /// Returns whether the places of all allocations, and of the area, are known. Otherwise each
    /// gap may be smaller than it looks.
    pub fn is_complete(&self) -> bool {
        self.whole && self.counted && self.unlocated.is_empty() && self.unlocated_bytes == 0
    }

    /// Returns the number of free bytes in the area, or in the known part of it.
    pub fn free(&self) -> u64 {
        self.layout.free().saturating_sub(self.unlocated_bytes)
    }

    /// Returns the size of the largest free range in bytes, and whether that is an upper bound
    /// because it may contain allocations at unknown addresses.
    pub fn largest_free(&self, area: &Area) -> Option<(u64, bool)> {
        if self.whole {
            let gap = self.layout.largest_gap.map_or(0, |gap| gap.size());
            // No free range exceeds the free memory of the area.
            let free = area.available.unwrap_or(gap);
            return Some((gap.min(free), !self.is_complete()));
        }
        // The largest free range of an empty area is the whole area.
        area.size
            .filter(|size| area.available == Some(*size))
            .map(|size| (size, false))
    }
}

/// Converts a range with its last address to one with the first address after it.
fn half_open(range: (u64, u64)) -> (u64, u64) {
    (range.0, range.1.saturating_add(1))
}

/// Assigns the ranges of rows to inode numbers. Rows have no inode number, but both lists have the
/// newest buffer first.
fn join(buffers: &[Buffer], rows: &[list_file::Row]) -> HashMap<u64, Vec<(u64, u64)>> {
    let mut joined = HashMap::new();
    let mut rest = buffers;
    for row in rows {
        let Some(index) = rest.iter().position(|buffer| row.matches(buffer)) else {
            continue;
        };
        let (found, later) = rest.split_at(index + 1);
        rest = later;
        let inode = found.last().and_then(|buffer| buffer.inode);
        if let Some(inode) = inode.filter(|_| !row.ranges.is_empty()) {
            joined.insert(inode, row.ranges.iter().copied().map(half_open).collect());
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(inode: u64, size: u64) -> Buffer {
        Buffer {
            inode: Some(inode),
            size,
            exporter: "cma".into(),
            ..Buffer::default()
        }
    }

    fn row(size: u64, start: u64) -> list_file::Row {
        list_file::Row {
            exporter: "cma".into(),
            size,
            ranges: vec![(start, start + size - 1)],
            ..list_file::Row::default()
        }
    }

    #[test]
    fn a_map_is_complete_only_if_everything_is_known() {
        let areas = Areas::default();
        let area = Area {
            name: "cma".into(),
            base: Some(0),
            size: Some(8192),
            available: Some(8192),
            ..Area::default()
        };
        let complete = |area: &Area| {
            let map = Ranges::default().of_area(&areas, area);
            assert_eq!(
                map.largest_free(area).map(|(_, at_most)| !at_most),
                Some(map.is_complete())
            );
            map.is_complete()
        };
        assert!(complete(&area));
        // A driver has allocated a page.
        let available = Some(4096);
        assert!(!complete(&Area {
            available,
            ..area.clone()
        }));
        // Nobody knows whether one has.
        let available = None;
        assert!(!complete(&Area {
            available,
            ..area.clone()
        }));
        let carveout = true;
        assert!(complete(&Area {
            available,
            carveout,
            ..area
        }));
    }

    #[test]
    fn rows_are_joined_in_order() {
        let buffers = [buffer(9, 4096), buffer(7, 8192), buffer(5, 4096)];
        let found = join(
            &buffers,
            &[row(4096, 1 << 20), row(8192, 2 << 20), row(4096, 3 << 20)],
        );
        assert_eq!(found[&9], [(1 << 20, (1 << 20) + 4096)]);
        assert_eq!(found[&7], [(2 << 20, (2 << 20) + 8192)]);
        assert_eq!(found[&5], [(3 << 20, (3 << 20) + 4096)]);
        // A buffer that was freed between the two lists does not shift the others.
        let found = join(&buffers, &[row(65536, 4 << 20), row(8192, 2 << 20)]);
        assert_eq!(found.len(), 1);
        assert!(found.contains_key(&7));
    }
}
