// SPDX-License-Identifier: GPL-2.0

//! What the buffers were when their sum was highest, as far as looking again and again shows it.

use crate::buffer::{
    total_size,
    Buffer, //
};
use crate::parse::sum_file;
use crate::survey::Survey;
use crate::system::System;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{
    BTreeMap,
    HashSet, //
};
use std::sync::mpsc::{
    self,
    RecvTimeoutError, //
};
use std::thread;
use std::time::Duration;

/// Time between two looks at the sum, which costs little.
const INTERVAL: Duration = Duration::from_millis(2);

/// Buffers that are alike: of one process, name, heap and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub process: String,
    pub pid: Option<u32>,
    pub name: Option<String>,
    pub exporter: String,
    /// Size of each, in bytes.
    pub size: u64,
    pub count: u64,
    pub bytes: u64,
    /// Whether they existed before COMMAND was started.
    pub existed_before: bool,
}

/// Returns the parts of the sum of `buffers`, the largest first. `before` has the inode numbers of
/// what existed before.
fn parts(buffers: &[Buffer], before: &HashSet<u64>) -> Vec<Part> {
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for buffer in buffers {
        let existed = buffer.inode.is_some_and(|inode| before.contains(&inode));
        let (name, pid) = buffer.process();
        let key = (
            name,
            pid,
            buffer.name.clone(),
            buffer.exporter.clone(),
            buffer.size,
            existed,
        );
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }
    let mut parts: Vec<Part> = counts
        .into_iter()
        .map(
            |((process, pid, name, exporter, size, existed_before), count)| Part {
                process,
                pid,
                name,
                exporter,
                size,
                count,
                bytes: size.saturating_mul(count),
                existed_before,
            },
        )
        .collect();
    // The sort is stable: parts of one size stay sorted by process.
    parts.sort_by_key(|part| Reverse(part.bytes));
    parts
}

/// The highest sum that was seen, and its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Highest {
    pub bytes: u64,
    pub parts: Vec<Part>,
}

/// Looks at the sum until `body` ends. Returns its result, and the highest sum.
pub fn during<T>(system: &System, body: impl FnOnce() -> T) -> (T, Highest) {
    let first = Survey::take(system).into_counted();
    let before = first.iter().filter_map(|buffer| buffer.inode).collect();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let mut highest = (total_size(&first), first);
            let size = || {
                sum_file::SIZE
                    .parse(&system.text(sum_file::SIZE.path)?)
                    .map(|sum| sum.0)
            };
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if size() > Some(highest.0) {
                    let buffers = Survey::take(system).into_counted();
                    let bytes = total_size(&buffers);
                    if bytes > highest.0 {
                        highest = (bytes, buffers);
                    }
                }
            }
            highest
        });
        let result = body();
        drop(end);
        let (bytes, buffers) = watcher.join().unwrap_or_default();
        let parts = parts(&buffers, &before);
        (result, Highest { bytes, parts })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn buffer(inode: u64, pid: u32, size: u64) -> Buffer {
        Buffer {
            inode: Some(inode),
            pid: Some(pid),
            thread: Some("t".into()),
            size,
            ..Buffer::default()
        }
    }

    #[test]
    fn alike_buffers_are_a_part() {
        let buffers = [
            buffer(1, 7, 50),
            buffer(2, 7, 50),
            buffer(3, 7, 50),
            buffer(4, 8, 60),
        ];
        let before = HashSet::from([1]);
        let parts: Vec<_> = parts(&buffers, &before)
            .iter()
            .map(|part| (part.pid, part.count, part.bytes, part.existed_before))
            .collect();
        assert_eq!(
            parts,
            [
                (Some(7), 2, 100, false),
                (Some(8), 1, 60, false),
                (Some(7), 1, 50, true),
            ]
        );
    }

    #[test]
    fn the_highest_sum_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/rk_dmabuf");
        fs::create_dir_all(&folder).unwrap();
        let hold = |kib: u64| {
            let heading = "inode size exporter name age_ms pid thread references devices holders";
            let line = format!("1 {} cma - 1 7 t 1 - -", kib * 1024);
            fs::write(folder.join("buffers"), format!("{heading}\n{line}\n")).unwrap();
            fs::write(folder.join("size"), format!("Total: {kib} KiB\n")).unwrap();
            thread::sleep(50 * INTERVAL);
        };
        hold(4);
        let system = System::new(root.path());
        let (result, highest) = during(&system, || {
            hold(12);
            hold(8);
            5
        });
        assert_eq!((result, highest.bytes), (5, 12 << 10));
        assert_eq!(highest.parts.len(), 1);
        // Nothing more than there was.
        let (_, highest) = during(&system, || hold(2));
        assert_eq!(highest.bytes, 8 << 10);
        assert!(highest.parts[0].existed_before);
    }
}
