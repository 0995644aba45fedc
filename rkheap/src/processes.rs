// SPDX-License-Identifier: GPL-2.0

//! The dma-bufs that processes hold, from `/proc/PID/fdinfo` and `/proc/PID/maps`. A user may
//! inspect its own processes, root all of them.

use crate::buffer::{
    Buffer,
    Holder, //
};
use crate::parse::{
    fdinfo,
    maps,
    stat, //
};
use crate::system::System;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

/// The result of [`scan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub buffers: Vec<Buffer>,
    /// Number of processes that this user may not inspect.
    pub denied: usize,
}

/// Returns the PIDs of all processes that have not ended.
pub fn pids(system: &System) -> Vec<u32> {
    let names = system.names("/proc");
    let pids = names.iter().filter_map(|name| name.parse().ok());
    pids.filter(|pid| runs(system, *pid)).collect()
}

/// Returns whether a process exists and has not ended. One that has ended is in `/proc` until its
/// parent waits for it, which may be never. One whose state cannot be read counts as running.
pub fn runs(system: &System, pid: u32) -> bool {
    let folder = format!("/proc/{pid}");
    let text = system.text(&format!("{folder}/stat"));
    match text.as_deref().and_then(stat::has_ended) {
        Some(has_ended) => !has_ended,
        None => system.exists(&folder),
    }
}

/// Returns the descriptors of a process that refer to the dma-buf `inode`, sorted.
pub fn descriptors(system: &System, pid: u32, inode: u64) -> Vec<u32> {
    let folder = format!("/proc/{pid}/fdinfo");
    let names = system.names(&folder).into_iter();
    let mut numbers: Vec<u32> = names
        .filter(|name| {
            let info = system.text(&format!("{folder}/{name}"));
            info.as_deref()
                .and_then(fdinfo::parse)
                .is_some_and(|info| info.inode == inode)
        })
        .filter_map(|name| name.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Collects the dma-bufs that all processes hold, with their holders.
pub fn scan(system: &System) -> Scan {
    let mut buffers: BTreeMap<u64, Buffer> = BTreeMap::new();
    let mut denied = 0;
    for pid in pids(system) {
        let folder = format!("/proc/{pid}/fdinfo");
        let entries = match fs::read_dir(system.path(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                denied += usize::from(error.kind() == ErrorKind::PermissionDenied);
                continue;
            }
        };
        let name = system
            .text(&format!("/proc/{pid}/comm"))
            .map(|name| name.strip_suffix('\n').unwrap_or(&name).to_owned())
            .unwrap_or_default();
        let mut count = |found: Buffer, descriptors: u64, mappings: u64| {
            let size = found.size;
            let buffer = buffers
                .entry(found.inode.unwrap_or_default())
                .or_insert(found);
            // A mapping gives only a lower bound of the size.
            buffer.size = buffer.size.max(size);
            match buffer.holders.last_mut().filter(|last| last.pid == pid) {
                Some(holder) => {
                    holder.descriptors += descriptors;
                    holder.mappings += mappings;
                }
                None => buffer.holders.push(Holder {
                    pid,
                    name: name.clone(),
                    descriptors,
                    mappings,
                }),
            }
        };
        for entry in entries.flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if let Some(info) = system.text(&path).as_deref().and_then(fdinfo::parse) {
                let found = Buffer {
                    inode: Some(info.inode),
                    size: info.size,
                    exporter: info.exporter,
                    name: info.name,
                    references: info.references,
                    ..Buffer::default()
                };
                count(found, 1, 0);
            }
        }
        let text = system
            .text(&format!("/proc/{pid}/maps"))
            .unwrap_or_default();
        for mapping in maps::parse(&text) {
            let found = Buffer {
                inode: Some(mapping.inode),
                size: mapping.end_offset,
                exporter: "?".to_owned(),
                name: mapping.name,
                ..Buffer::default()
            };
            count(found, 0, 1);
        }
    }
    Scan {
        buffers: buffers.into_values().collect(),
        denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_have_ended_are_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let system = System::new(root.path());
        for (pid, state) in [(1, "S"), (2, "Z"), (3, "R"), (4, "X")] {
            let folder = system.path(&format!("/proc/{pid}"));
            fs::create_dir_all(&folder).unwrap();
            let stat = format!("{pid} (a) S) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9\n");
            fs::write(folder.join("stat"), stat).unwrap();
        }
        for name in ["5", "self"] {
            fs::create_dir_all(system.path(&format!("/proc/{name}"))).unwrap();
        }
        // The state of 5 cannot be read.
        assert_eq!(pids(&system), [1, 3, 5]);
        assert!(runs(&system, 5) && !runs(&system, 2) && !runs(&system, 6));
    }
}
