// SPDX-License-Identifier: GPL-2.0

//! The rows of `top`: sums of buffer sizes, and their growth.

use crate::arguments::By;
use crate::buffer::Buffer;
use crate::heaps;
use crate::survey::Survey;
use crate::system::System;
use crate::text;
use serde::Serialize;
use std::collections::BTreeMap;

/// The group of buffers that a sum covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// The buffers of a heap or of another exporter.
    Name(String),
    Process {
        pid: u32,
        name: String,
    },
    /// Buffers that devices and the kernel hold, but no process.
    Kernel,
    /// Buffers of processes that this user may not inspect.
    Unknown,
}

/// The number of buffers of a group, and the sum of their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    buffers: u64,
    bytes: u64,
}

/// All sums at one point in time.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// All buffers.
    pub buffers: Vec<Buffer>,
    pub remarks: Vec<String>,
    sums: BTreeMap<Key, Sum>,
}

/// A sum and its growth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub key: Key,
    pub buffers: u64,
    pub bytes: u64,
    pub grown_bytes: i64,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Growth,
    Size,
}

impl By {
    /// Returns the name of the grouping.
    pub fn name(self) -> &'static str {
        match self {
            By::Heap => "heap",
            By::Process => "process",
            By::Exporter => "exporter",
        }
    }

    /// Returns the heading of the first column.
    pub fn heading(self) -> &'static str {
        match self {
            By::Heap => "HEAP",
            By::Process => "PROCESS",
            By::Exporter => "EXPORTER",
        }
    }
}

impl Sample {
    /// Takes a sample of the system.
    pub fn take(system: &System, by: By) -> Self {
        let survey = Survey::take(system);
        let mut sample = Sample {
            remarks: survey.remarks,
            ..Sample::default()
        };
        for buffer in &survey.buffers {
            match by {
                By::Heap | By::Exporter => sample.add(Key::Name(buffer.exporter.clone()), buffer),
                By::Process => sample.add_holders(buffer),
            }
        }
        if by == By::Heap {
            sample.add_heaps(system);
        }
        sample.buffers = survey.buffers;
        sample
    }

    fn add(&mut self, key: Key, buffer: &Buffer) {
        let sum = self.sums.entry(key).or_default();
        sum.buffers += 1;
        sum.bytes = sum.bytes.saturating_add(buffer.size);
    }

    fn add_holders(&mut self, buffer: &Buffer) {
        for holder in &buffer.holders {
            let key = Key::Process {
                pid: holder.pid,
                name: holder.name.clone(),
            };
            self.add(key, buffer);
        }
        if let Some(key) = Self::key_without_holders(buffer) {
            self.add(key, buffer);
        }
    }

    /// Returns the group of a buffer that no process holds, as far as it is known.
    pub fn key_without_holders(buffer: &Buffer) -> Option<Key> {
        // Lists with reference counts are readable by root only, and root sees all holders.
        let holders_known = buffer.inode.is_some() && buffer.references.is_some();
        let key = if holders_known {
            Key::Kernel
        } else {
            Key::Unknown
        };
        buffer.holders.is_empty().then_some(key)
    }

    /// Adds heaps without buffers, and the page arrays of drivers.
    fn add_heaps(&mut self, system: &System) {
        for folder in heaps::FOLDERS {
            for name in system.names(folder) {
                self.sums.entry(Key::Name(name)).or_default();
            }
        }
        for stats in heaps::stats(system) {
            let sum = self.sums.entry(Key::Name(stats.heap)).or_default();
            sum.bytes = sum.bytes.max(stats.allocated);
        }
    }
}

/// Computes the growth of sums.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// The sums at the start of the measurement.
    baseline: Option<BTreeMap<Key, u64>>,
}

impl Growth {
    /// Restarts the measurement with the next sample.
    pub fn reset(&mut self) {
        self.baseline = None;
    }

    /// Returns the sums with their growth since the first sample, sorted.
    pub fn rows(&mut self, sample: &Sample, sort: Sort) -> Vec<Row> {
        let bytes = |sums: &BTreeMap<Key, Sum>| {
            let pairs = sums.iter().map(|(key, sum)| (key.clone(), sum.bytes));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let baseline = self.baseline.get_or_insert_with(|| bytes(&sample.sums));
        let mut rows: Vec<Row> = sample
            .sums
            .iter()
            .map(|(key, sum)| {
                let before = baseline.get(key).copied().unwrap_or(0);
                Row {
                    key: key.clone(),
                    buffers: sum.buffers,
                    bytes: sum.bytes,
                    grown_bytes: difference(sum.bytes, before),
                }
            })
            .collect();
        // The sort is stable, so rows with equal keys stay sorted by name.
        rows.sort_by(|a, b| {
            let (first, second) = match sort {
                Sort::Growth => (b.grown_bytes.cmp(&a.grown_bytes), b.bytes.cmp(&a.bytes)),
                Sort::Size => (b.bytes.cmp(&a.bytes), b.grown_bytes.cmp(&a.grown_bytes)),
            };
            first.then(second)
        });
        rows
    }
}

/// Returns `now - before`, saturated.
fn difference(now: u64, before: u64) -> i64 {
    let distance = i64::try_from(now.abs_diff(before)).unwrap_or(i64::MAX);
    if now >= before {
        distance
    } else {
        -distance
    }
}

impl Row {
    /// Returns the name of the group, in printable form.
    pub fn label(&self) -> String {
        self.key.label()
    }
}

impl Key {
    /// Returns the name of the group, in printable form.
    pub fn label(&self) -> String {
        match self {
            Key::Name(name) => text::escaped_or_dash(name),
            Key::Process { pid, name } => format!("{} ({pid})", text::escaped(name)),
            Key::Kernel => "devices and the kernel".to_owned(),
            Key::Unknown => "other users".to_owned(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::buffer::Holder;
    use proptest::prelude::*;

    /// Returns a sample of processes that hold one buffer each.
    pub fn processes(processes: &[(u32, &str, u64)]) -> Sample {
        let mut sample = Sample::default();
        for (pid, name, size) in processes {
            sample.buffers.push(Buffer {
                size: *size,
                exporter: "system".into(),
                name: Some(format!("frame of {name}")),
                holders: vec![Holder {
                    pid: *pid,
                    name: (*name).into(),
                    descriptors: 1,
                    mappings: 0,
                }],
                ..Buffer::default()
            });
        }
        for buffer in sample.buffers.clone() {
            sample.add_holders(&buffer);
        }
        sample
    }

    fn sample(sums: &[(&str, u64)]) -> Sample {
        Sample {
            sums: sums
                .iter()
                .map(|(name, bytes)| {
                    let sum = Sum {
                        buffers: 1,
                        bytes: *bytes,
                    };
                    (Key::Name((*name).to_owned()), sum)
                })
                .collect(),
            ..Sample::default()
        }
    }

    fn order(rows: &[Row]) -> Vec<(String, i64)> {
        rows.iter()
            .map(|row| (row.label(), row.grown_bytes))
            .collect()
    }

    #[test]
    fn growing_sums_are_first() {
        let mut growth = Growth::default();
        growth.rows(&sample(&[("a", 10), ("b", 100), ("c", 50)]), Sort::Growth);
        let now = sample(&[("a", 30), ("b", 90), ("d", 15)]);
        assert_eq!(
            order(&growth.rows(&now, Sort::Growth)),
            [("a".into(), 20), ("d".into(), 15), ("b".into(), -10)]
        );
        assert_eq!(order(&growth.rows(&now, Sort::Size))[0].0, "b");
        growth.reset();
        assert_eq!(order(&growth.rows(&now, Sort::Growth))[0], ("b".into(), 0));
    }

    proptest! {
        #[test]
        fn differences_have_a_sign(a: u64, b: u64) {
            let d = difference(a, b);
            prop_assert_eq!(d.signum(), i64::from(a > b) - i64::from(a < b));
        }
    }
}
