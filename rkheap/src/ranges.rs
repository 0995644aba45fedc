// SPDX-License-Identifier: GPL-2.0

//! Where buffers lie: `rk-dma-heap-info` tells it of the Rockchip heap's, `sgt` of those that a
//! device has mapped, and in advanced mode of all.

use crate::areas::{
    Area,
    Areas, //
};
use crate::buffers::{
    survey,
    Buffer,
    Survey, //
};
use crate::layout::{
    Held,
    Layout, //
};
use crate::parse::{
    info_file,
    list_file, //
};
use crate::system::System;
use std::collections::HashMap;

/// How often the lists are read again when buffers came or went in between.
const ATTEMPTS: usize = 5;

/// Where everything lies.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    pub survey: Survey,
    /// The ranges of buffers by their inode numbers: first address, and the first behind it.
    buffers: HashMap<u64, Vec<(u64, u64)>>,
    /// The page arrays of drivers.
    arrays: Vec<info_file::Entry>,
    /// This user may not see addresses.
    pub hidden: bool,
}

/// An area as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where the area's place is not known, from the first to the last that is held.
    pub layout: Layout,
    /// Whether the layout is of the whole area.
    pub whole: bool,
    /// Buffers of its heaps whose place is not known.
    pub unplaced: Vec<Buffer>,
    /// What is allocated at places that are not known, in bytes: by those buffers, and by drivers.
    pub elsewhere: u64,
}

impl Ranges {
    /// Reads all lists.
    pub fn read(system: &System) -> Self {
        let mut ranges = Ranges::default();
        for _ in 0..ATTEMPTS {
            let rows = system
                .read(list_file::SGT)
                .content()
                .map(|content| list_file::parse(&content).items)
                .unwrap_or_default();
            ranges.survey = survey(system);
            ranges.buffers = joined(&ranges.survey.buffers, &rows);
            let exact = rows.len() == ranges.survey.buffers.len();
            if exact || rows.is_empty() {
                break;
            }
        }
        let info = system.text(info_file::PATH).unwrap_or_default();
        for entry in info_file::parse(&info).items {
            match entry.inode {
                Some(inode) => {
                    let range = after(entry.range);
                    ranges.buffers.insert(inode, vec![range]);
                }
                None => ranges.arrays.push(entry),
            }
        }
        // Zeros are what a user sees who may not see addresses.
        let shown = |range: &(u64, u64)| range.0 != 0 || range.1 > 1;
        let all = ranges.buffers.values().flatten().copied();
        let all: Vec<_> = all
            .chain(ranges.arrays.iter().map(|array| after(array.range)))
            .collect();
        ranges.hidden = !all.is_empty() && !all.iter().any(shown);
        if ranges.hidden {
            ranges.buffers.clear();
            ranges.arrays.clear();
        }
        ranges
    }

    /// What lies in an area.
    pub fn of_area(&self, areas: &Areas, area: &Area) -> Known {
        let is_here = |heap: &str| areas.of_heap(heap).is_some_and(|of| of.name == area.name);
        let extent = area
            .base
            .zip(area.size)
            .and_then(|(base, size)| Some((base, base.checked_add(size)?)));
        let inside = |range: (u64, u64)| {
            range.0 < range.1
                && extent.is_none_or(|(start, end)| range.0 >= start && range.1 <= end)
        };
        let mut held = Vec::new();
        let mut unplaced = Vec::new();
        let survey = self.survey.buffers.iter();
        for buffer in survey.filter(|buffer| is_here(&buffer.exporter)) {
            let ranges = buffer.inode.and_then(|inode| self.buffers.get(&inode));
            let mut placed = false;
            for range in ranges.into_iter().flatten().copied().filter(|r| inside(*r)) {
                placed = true;
                held.push(Held {
                    start: range.0,
                    end: range.1,
                    heap: buffer.exporter.clone(),
                    name: buffer.name.clone(),
                    inode: buffer.inode,
                    pid: buffer.pid,
                    process: buffer.thread.clone(),
                });
            }
            if !placed {
                unplaced.push(buffer.clone());
            }
        }
        for array in self.arrays.iter().filter(|array| is_here(&array.heap)) {
            let range = after(array.range);
            if inside(range) {
                held.push(Held {
                    start: range.0,
                    end: range.1,
                    heap: array.heap.clone(),
                    name: Some(array.name.clone()),
                    ..Held::default()
                });
            }
        }
        let (start, end) = extent.unwrap_or_else(|| {
            let start = held.iter().map(|held| held.start).min();
            let end = held.iter().map(|held| held.end).max();
            (start.unwrap_or(0), end.unwrap_or(0))
        });
        let layout = Layout::new(start, end, held);
        let waiting = unplaced
            .iter()
            .fold(0u64, |sum, buffer| sum.saturating_add(buffer.size));
        let elsewhere = match (area.size, area.available) {
            (Some(size), Some(available)) => {
                size.saturating_sub(available).saturating_sub(layout.used())
            }
            _ => waiting,
        };
        Known {
            layout,
            whole: extent.is_some(),
            unplaced,
            elsewhere,
        }
    }
}

impl Known {
    /// The largest free range in bytes, and whether it may be smaller: what is held at unknown
    /// places may lie in it.
    pub fn largest_free(&self, area: &Area) -> Option<(u64, bool)> {
        if self.whole {
            let most = self.layout.largest.map_or(0, |gap| gap.size());
            // It is no larger than all that is free.
            let free = area.available.unwrap_or(most);
            return Some((most.min(free), self.elsewhere > 0));
        }
        // Of an area in which nothing is, no place needs to be known.
        area.size
            .filter(|size| area.available == Some(*size))
            .map(|size| (size, false))
    }
}

/// A range with its last address, as one with the first behind it.
fn after(range: (u64, u64)) -> (u64, u64) {
    (range.0, range.1.saturating_add(1))
}

/// Which row is about which buffer: rows do not say, but both lists have the newest first.
fn joined(buffers: &[Buffer], rows: &[list_file::Row]) -> HashMap<u64, Vec<(u64, u64)>> {
    let mut joined = HashMap::new();
    let mut rest = buffers;
    for row in rows {
        let Some(index) = rest.iter().position(|buffer| row.may_be(buffer)) else {
            continue;
        };
        let (found, later) = rest.split_at(index + 1);
        rest = later;
        let inode = found.last().and_then(|buffer| buffer.inode);
        if let Some(inode) = inode.filter(|_| !row.ranges.is_empty()) {
            joined.insert(inode, row.ranges.iter().copied().map(after).collect());
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
    fn rows_are_joined_in_order() {
        let buffers = [buffer(9, 4096), buffer(7, 8192), buffer(5, 4096)];
        let found = joined(
            &buffers,
            &[row(4096, 1 << 20), row(8192, 2 << 20), row(4096, 3 << 20)],
        );
        assert_eq!(found[&9], [(1 << 20, (1 << 20) + 4096)]);
        assert_eq!(found[&7], [(2 << 20, (2 << 20) + 8192)]);
        assert_eq!(found[&5], [(3 << 20, (3 << 20) + 4096)]);
        // One that was freed between the two lists takes no other's place.
        let found = joined(&buffers, &[row(65536, 4 << 20), row(8192, 2 << 20)]);
        assert_eq!(found.len(), 1);
        assert!(found.contains_key(&7));
    }
}
