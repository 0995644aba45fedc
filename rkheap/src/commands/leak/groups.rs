// SPDX-License-Identifier: GPL-2.0

//! Buffers that are alike: of one process, name, heap and size.

use super::LeftBuffer;
use crate::buffer::Holder;
use crate::parse::trace_file::Stack;
use crate::text;
use serde::Serialize;
use std::collections::{
    BTreeMap,
    BTreeSet, //
};

/// Buffers that differ only in their age and in who holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The process that made them, or else the first that holds one.
    pub process: String,
    pub pid: Option<u32>,
    /// Whether that process is older than the snapshot.
    pub maker_ran_before: Option<bool>,
    pub name: Option<String>,
    pub exporter: String,
    /// Size of each, in bytes.
    pub size: u64,
    pub count: usize,
    /// The age of the newest and of the oldest, in milliseconds.
    pub min_age_ms: Option<u64>,
    pub max_age_ms: Option<u64>,
    /// The call stack of their allocations, if it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// Who holds them.
    #[serde(skip)]
    pub held_by: Holders,
}

/// The holders of several buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Descriptors and mappings of each process.
    processes: BTreeMap<(u32, String), (u64, u64)>,
    devices: BTreeSet<String>,
    /// Number of buffers that no process and no device holds.
    by_kernel: usize,
}

impl Holders {
    fn add(&mut self, left: &LeftBuffer) {
        let buffer = &left.buffer;
        for holder in &buffer.holders {
            let sum = self
                .processes
                .entry((holder.pid, holder.name.clone()))
                .or_default();
            sum.0 = sum.0.saturating_add(holder.descriptors);
            sum.1 = sum.1.saturating_add(holder.mappings);
        }
        self.devices.extend(buffer.devices.iter().cloned());
        if buffer.holders.is_empty() && buffer.devices.is_empty() {
            self.by_kernel += 1;
        }
    }

    /// Describes them.
    pub fn text(&self) -> String {
        let processes = self
            .processes
            .iter()
            .map(|((pid, name), (descriptors, mappings))| {
                let holder = Holder {
                    pid: *pid,
                    name: name.clone(),
                    descriptors: *descriptors,
                    mappings: *mappings,
                };
                holder.label()
            });
        let devices = self
            .devices
            .iter()
            .map(|device| format!("device {}", text::escaped(device)));
        let kernel = (self.by_kernel > 0).then(|| "the kernel".to_owned());
        let all: Vec<String> = processes.chain(devices).chain(kernel).collect();
        all.join(", ")
    }
}

/// Returns the groups of `left`, in its order. With `each`, each buffer is a group of its own.
pub fn groups(left: &[LeftBuffer], each: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for left in left {
        let buffer = &left.buffer;
        let (name, pid) = buffer.process();
        let alike = |group: &&mut Group| {
            !each
                && group.process == name
                && group.pid == pid
                && group.name == buffer.name
                && group.exporter == buffer.exporter
                && group.size == buffer.size
                && group.stack == left.stack
        };
        // Those of one process are in sequence.
        let of_process = groups
            .iter()
            .rposition(|group| (&group.process, group.pid) != (&name, pid))
            .map_or(0, |last| last + 1);
        let mut rest = groups.iter_mut().skip(of_process);
        let group = match rest.find(alike) {
            Some(group) => group,
            None => {
                groups.push(Group {
                    process: name,
                    pid,
                    maker_ran_before: left.maker_ran_before,
                    name: buffer.name.clone(),
                    exporter: buffer.exporter.clone(),
                    size: buffer.size,
                    stack: left.stack.clone(),
                    ..Group::default()
                });
                match groups.last_mut() {
                    Some(group) => group,
                    None => continue,
                }
            }
        };
        group.count += 1;
        group.min_age_ms = [group.min_age_ms, buffer.age_ms]
            .into_iter()
            .flatten()
            .min();
        group.max_age_ms = group.max_age_ms.max(buffer.age_ms);
        group.held_by.add(left);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;

    fn left(pid: u32, size: u64, age_ms: u64) -> LeftBuffer {
        LeftBuffer {
            buffer: Buffer {
                size,
                pid: Some(pid),
                thread: Some("t".into()),
                age_ms: Some(age_ms),
                holders: vec![Holder {
                    pid,
                    name: "t".into(),
                    descriptors: 1,
                    ..Holder::default()
                }],
                ..Buffer::default()
            },
            maker_ran_before: Some(false),
            stack: None,
        }
    }

    #[test]
    fn allocations_of_different_places_are_apart() {
        let stack = |name: &str| {
            Some(Stack {
                kernel: vec![name.to_owned()],
                ..Stack::default()
            })
        };
        let mut buffers = [left(1, 8192, 5), left(1, 8192, 7), left(1, 8192, 9)];
        buffers[0].stack = stack("a");
        buffers[1].stack = stack("b");
        buffers[2].stack = stack("a");
        let counts: Vec<_> = groups(&buffers, false)
            .iter()
            .map(|group| group.count)
            .collect();
        assert_eq!(counts, [2, 1]);
    }

    #[test]
    fn alike_buffers_of_a_process_are_one_group() {
        let buffers = [
            left(1, 8192, 5),
            left(1, 4096, 900),
            left(1, 8192, 7),
            left(2, 8192, 1),
        ];
        let groups: Vec<_> = groups(&buffers, false)
            .into_iter()
            .map(|group| {
                let ages = (group.min_age_ms, group.max_age_ms);
                (
                    group.pid,
                    group.size,
                    group.count,
                    ages,
                    group.held_by.text(),
                )
            })
            .collect();
        assert_eq!(
            groups,
            [
                (
                    Some(1),
                    8192,
                    2,
                    (Some(5), Some(7)),
                    "1:t (2 fd)".to_owned()
                ),
                (
                    Some(1),
                    4096,
                    1,
                    (Some(900), Some(900)),
                    "1:t (1 fd)".to_owned()
                ),
                (
                    Some(2),
                    8192,
                    1,
                    (Some(1), Some(1)),
                    "2:t (1 fd)".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn each_buffer_can_be_a_group() {
        let buffers = [left(1, 8192, 5), left(1, 8192, 7)];
        assert_eq!(groups(&buffers, true).len(), 2);
    }
}
