// SPDX-License-Identifier: GPL-2.0

//! What `top` adds up, and how it grows.

use crate::arguments::By;
use crate::buffers::{
    self,
    Buffer, //
};
use crate::heaps;
use crate::parse::heaps_file;
use crate::system::System;
use crate::text;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whose buffers a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// A heap, or another exporter.
    Name(String),
    Process {
        pid: u32,
        name: String,
    },
    /// Held by devices and the kernel, by no process.
    Kernel,
    /// Held by processes that this user may not look into.
    Unknown,
}

/// A sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    buffers: u64,
    bytes: u64,
}

/// All sums at one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub bytes: u64,
    pub buffers: usize,
    pub remarks: Vec<String>,
    sums: BTreeMap<Key, Sum>,
}

/// A sum as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub key: Key,
    pub buffers: u64,
    pub bytes: u64,
    pub grown_bytes: i64,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Growth,
    Size,
}

impl By {
    pub fn word(self) -> &'static str {
        match self {
            By::Heap => "heap",
            By::Process => "process",
            By::Exporter => "exporter",
        }
    }

    pub fn heading(self) -> &'static str {
        match self {
            By::Heap => "HEAP",
            By::Process => "PROCESS",
            By::Exporter => "EXPORTER",
        }
    }
}

impl Look {
    /// Looks at the system.
    pub fn take(system: &System, by: By) -> Self {
        let survey = buffers::survey(system);
        let mut look = Look {
            bytes: survey.bytes(),
            buffers: survey.buffers.len(),
            remarks: survey.remarks,
            sums: BTreeMap::new(),
        };
        for buffer in &survey.buffers {
            match by {
                By::Heap | By::Exporter => look.add(Key::Name(buffer.exporter.clone()), buffer),
                By::Process => look.add_holders(buffer),
            }
        }
        if by == By::Heap {
            look.add_heaps(system);
        }
        look
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
        if buffer.holders.is_empty() {
            // Only root's list of the module's is sure to have all holders; it tells the makers as
            // well.
            let sure = buffer.inode.is_some() && buffer.references.is_some();
            self.add(if sure { Key::Kernel } else { Key::Unknown }, buffer);
        }
    }

    /// The heaps that hand out nothing at the moment, and drivers' page arrays.
    fn add_heaps(&mut self, system: &System) {
        for folder in heaps::FOLDERS {
            for name in system.names(folder) {
                self.sums.entry(Key::Name(name)).or_default();
            }
        }
        let figures = system.text(heaps_file::PATH).unwrap_or_default();
        for figures in heaps_file::parse(&figures).items {
            let sum = self.sums.entry(Key::Name(figures.heap)).or_default();
            sum.bytes = sum.bytes.max(figures.allocated);
        }
    }
}

/// How sums have grown.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    since: Option<BTreeMap<Key, u64>>,
}

impl Growth {
    /// From the next look on growth is measured anew.
    pub fn reset(&mut self) {
        self.since = None;
    }

    /// The sums with their growth since the first look.
    pub fn rows(&mut self, look: &Look, sort: Sort) -> Vec<Row> {
        let bytes = |sums: &BTreeMap<Key, Sum>| {
            let pairs = sums.iter().map(|(key, sum)| (key.clone(), sum.bytes));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let since = self.since.get_or_insert_with(|| bytes(&look.sums));
        let mut rows: Vec<Row> = look
            .sums
            .iter()
            .map(|(key, sum)| {
                let before = since.get(key).copied().unwrap_or(0);
                Row {
                    key: key.clone(),
                    buffers: sum.buffers,
                    bytes: sum.bytes,
                    grown_bytes: difference(sum.bytes, before),
                }
            })
            .collect();
        // Stable, so that equals stay in the order of their names.
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

fn difference(is: u64, was: u64) -> i64 {
    let distance = i64::try_from(is.abs_diff(was)).unwrap_or(i64::MAX);
    if is >= was {
        distance
    } else {
        -distance
    }
}

impl Row {
    /// The name, fit to be printed.
    pub fn shown(&self) -> String {
        match &self.key {
            Key::Name(name) if name.is_empty() => "-".to_owned(),
            Key::Name(name) => text::shown(name),
            Key::Process { pid, name } => format!("{} ({pid})", text::shown(name)),
            Key::Kernel => "devices and the kernel".to_owned(),
            Key::Unknown => "other users".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(sums: &[(&str, u64)]) -> Look {
        Look {
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
            ..Look::default()
        }
    }

    fn order(rows: &[Row]) -> Vec<(String, i64)> {
        rows.iter()
            .map(|row| (row.shown(), row.grown_bytes))
            .collect()
    }

    #[test]
    fn what_grows_comes_first() {
        let mut growth = Growth::default();
        growth.rows(&look(&[("a", 10), ("b", 100), ("c", 50)]), Sort::Growth);
        let now = look(&[("a", 30), ("b", 90), ("d", 15)]);
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
