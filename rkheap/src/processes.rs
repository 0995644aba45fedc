// SPDX-License-Identifier: GPL-2.0

//! Which processes hold which dma-bufs, by `/proc/PID/fdinfo` and `/proc/PID/maps`: a user's own,
//! for root all.

use crate::buffers::{
    Buffer,
    Holder, //
};
use crate::parse::{
    fdinfo,
    maps, //
};
use crate::system::System;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub buffers: Vec<Buffer>,
    /// How many processes may not be looked into.
    pub denied: usize,
}

/// The numbers of all processes.
pub fn all(system: &System) -> Vec<u32> {
    let names = system.names("/proc");
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Looks at all processes.
pub fn held(system: &System) -> Held {
    let mut buffers: BTreeMap<u64, Buffer> = BTreeMap::new();
    let mut denied = 0;
    for pid in all(system) {
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
            // A mapping alone does not tell how large the buffer is, only how large at least.
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
                size: mapping.reaches,
                exporter: "?".to_owned(),
                name: mapping.name,
                ..Buffer::default()
            };
            count(found, 0, 1);
        }
    }
    Held {
        buffers: buffers.into_values().collect(),
        denied,
    }
}
