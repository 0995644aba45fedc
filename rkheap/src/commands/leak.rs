// SPDX-License-Identifier: GPL-2.0

//! `rkheap leak`: the buffers that are newer than a snapshot, or than the start of a command.

use super::snapshot::Snapshot;
use crate::arguments::Leak;
use crate::buffer::Buffer;
use crate::exit::Status;
use crate::output::Output;
use crate::run::{
    self,
    CommandResult, //
};
use crate::system::System;
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::{
    ensure,
    Result, //
};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{
    BTreeMap,
    HashSet, //
};
use std::time::{
    Duration,
    Instant, //
};

/// Time between two checks whether all buffers are released.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A buffer that did not exist before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftBuffer {
    #[serde(flatten)]
    pub buffer: Buffer,
    /// Whether the process that allocated the buffer is older than the snapshot, so that it is not
    /// a part of COMMAND.
    pub maker_ran_before: Option<bool>,
}

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    run: Option<&'a CommandResult>,
    left_buffers: usize,
    left_bytes: u64,
    left: &'a [LeftBuffer],
    /// Whether all buffers were seen before and after.
    conclusive: bool,
    total_bytes_before: Option<u64>,
    total_bytes_after: Option<u64>,
    remarks: &'a [String],
}

/// What is known of the buffers that were left behind.
struct Comparison {
    left: Vec<LeftBuffer>,
    /// Whether all buffers were seen before and after.
    conclusive: bool,
    /// The sums of the sizes of all buffers in bytes.
    before: Option<u64>,
    after: Option<u64>,
}

impl Comparison {
    fn new(before: &Snapshot, after: &Snapshot) -> Self {
        Comparison {
            left: left_buffers(before, &after.buffers),
            conclusive: before.identifies_all() && after.identifies_all(),
            before: before.total_bytes,
            after: after.total_bytes,
        }
    }

    /// Returns whether buffers are left, or may be left because the sum has grown.
    fn may_have_left(&self) -> bool {
        !self.left.is_empty() || !self.conclusive && self.after > self.before
    }

    /// Describes how the sum of all buffers has changed.
    fn change(&self) -> Option<String> {
        let (before, after) = (self.before?, self.after?);
        let from = format!("from {} to {}", text::size(before), text::size(after));
        Some(match after.cmp(&before) {
            Ordering::Greater => format!(
                "all buffers of all users together grew by {}, {from}",
                text::size(after - before)
            ),
            Ordering::Less => format!(
                "all buffers of all users together shrank by {}, {from}",
                text::size(before - after)
            ),
            Ordering::Equal => format!(
                "all buffers of all users together have {} as before",
                text::size(after)
            ),
        })
    }
}

/// Returns the buffers in `after` that are not in `before`, sorted by process and descending size.
pub fn left_buffers(before: &Snapshot, after: &[Buffer]) -> Vec<LeftBuffer> {
    let known: HashSet<u64> = before.buffers.iter().filter_map(|b| b.inode).collect();
    let processes: HashSet<u32> = before.processes.iter().copied().collect();
    let mut left: Vec<LeftBuffer> = after
        .iter()
        .filter(|buffer| buffer.inode.is_some_and(|inode| !known.contains(&inode)))
        .map(|buffer| LeftBuffer {
            maker_ran_before: buffer.pid.map(|pid| processes.contains(&pid)),
            buffer: buffer.clone(),
        })
        .collect();
    left.sort_by(|a, b| {
        let key = |left: &LeftBuffer| {
            let buffer = &left.buffer;
            (
                process(buffer),
                std::cmp::Reverse((buffer.size, buffer.age_ms)),
                buffer.inode,
            )
        };
        key(a).cmp(&key(b))
    });
    left
}

/// Returns the process that allocated a buffer. If it is unknown, returns the first holder.
fn process(buffer: &Buffer) -> (String, Option<u32>) {
    let holder = buffer.holders.first();
    match (&buffer.thread, buffer.pid) {
        (Some(thread), pid) => (thread.clone(), pid),
        _ => (
            holder.map_or_else(String::new, |holder| holder.name.clone()),
            holder.map(|holder| holder.pid),
        ),
    }
}

/// Runs the command.
pub fn run(system: &System, output: Output, options: &Leak) -> Result<Status> {
    let (before, command) = match &options.since {
        Some(path) => (Snapshot::load(path)?, None),
        None => {
            let before = Snapshot::take(system)?.0;
            (before, Some(run::run(&options.command, output.json)?))
        }
    };
    let start = Instant::now();
    let settle = Duration::from_secs_f64(options.settle);
    let (comparison, survey) = loop {
        let (after, survey) = Snapshot::take(system)?;
        ensure!(
            before.is_of_same_boot(&after),
            "the snapshot is from before this boot, so its inode numbers are invalid: take a new \
             one with `rkheap snapshot > FILE`"
        );
        let comparison = Comparison::new(&before, &after);
        // The kernel releases the buffers of a process shortly after the end of the process.
        if !comparison.may_have_left() || command.is_none() || start.elapsed() >= settle {
            break (comparison, survey);
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    let mut remarks = survey.remarks.clone();
    if before.complete != survey.complete {
        remarks.push(
            "the snapshot was taken with other privileges, so listed buffers may be older than it: \
             run both commands as root"
                .to_owned(),
        );
    }
    print(output, command.as_ref(), &comparison, remarks)?;
    Ok(if !comparison.left.is_empty() {
        Status::Leak
    } else if command.is_some_and(|command| !command.is_success()) {
        Status::CommandFailed
    } else if !comparison.conclusive {
        Status::Inconclusive
    } else {
        Status::Done
    })
}

/// Prints the result.
fn print(
    output: Output,
    command: Option<&CommandResult>,
    comparison: &Comparison,
    mut remarks: Vec<String>,
) -> Result<()> {
    let left = &comparison.left[..];
    let bytes = left
        .iter()
        .fold(0u64, |sum, left| sum.saturating_add(left.buffer.size));
    if output.json {
        return output.print_json(&Report {
            run: command,
            left_buffers: left.len(),
            left_bytes: bytes,
            left,
            conclusive: comparison.conclusive,
            total_bytes_before: comparison.before,
            total_bytes_after: comparison.after,
            remarks: &remarks,
        });
    }
    remarks.splice(0..0, command.and_then(CommandResult::failure));
    output.print_remarks(&remarks);
    let mut lines = Vec::new();
    if !comparison.conclusive {
        lines.push(output.warning(
            "inconclusive: not all buffers can be seen, so others may have been left behind",
        ));
        lines.extend(comparison.change());
    }
    if left.is_empty() {
        lines.push(
            if comparison.conclusive {
                "nothing was left behind"
            } else {
                "of those that can be seen nothing was left behind"
            }
            .to_owned(),
        );
        return output.print_lines(&lines);
    }
    lines.push(output.warning(&format!(
        "left behind: {}, {}",
        text::plural(left.len(), "buffer"),
        text::size(bytes)
    )));
    let mut table = table(left).lines("  ");
    if let Some(heading) = table.first_mut() {
        *heading = output.bold(heading);
    }
    lines.extend(table);
    lines.extend(sums(left));
    output.print_lines(&lines)
}

/// Creates the table of the text output.
fn table(left: &[LeftBuffer]) -> Table {
    let mut table = Table::new(&[
        ("PROCESS", Align::Left),
        ("PID", Align::Right),
        ("NAME", Align::Left),
        ("HEAP", Align::Left),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("HELD BY", Align::Left),
    ]);
    for left in left {
        let buffer = &left.buffer;
        let (name, pid) = process(buffer);
        let unless_none = |name: &str| match name {
            "" => "-".to_owned(),
            name => text::escaped(name),
        };
        let ran_before = match left.maker_ran_before {
            Some(true) => " (ran before)",
            _ => "",
        };
        table.add_row(vec![
            format!("{}{ran_before}", unless_none(&name)),
            pid.map_or("-".to_owned(), |pid| pid.to_string()),
            unless_none(buffer.name.as_deref().unwrap_or_default()),
            unless_none(&buffer.exporter),
            text::size(buffer.size),
            buffer.age_ms.map_or("-".to_owned(), text::age),
            holders(buffer),
        ]);
    }
    table
}

/// Describes the current holders of a buffer: processes and devices, or else the kernel.
fn holders(buffer: &Buffer) -> String {
    let processes = buffer.holders.iter().map(|holder| {
        let mut references = Vec::new();
        if holder.descriptors > 0 {
            references.push(format!("{} fd", holder.descriptors));
        }
        if holder.mappings > 0 {
            references.push(format!("{} map", holder.mappings));
        }
        format!(
            "{}:{} ({})",
            holder.pid,
            text::escaped(&holder.name),
            references.join(", ")
        )
    });
    let devices = buffer
        .devices
        .iter()
        .map(|device| format!("device {}", text::escaped(device)));
    let all: Vec<String> = processes.chain(devices).collect();
    if all.is_empty() {
        "the kernel".to_owned()
    } else {
        all.join(", ")
    }
}

/// Returns one line per process with its sum. Returns no lines if each process has one buffer.
fn sums(left: &[LeftBuffer]) -> Vec<String> {
    let mut sums: BTreeMap<(String, Option<u32>), (usize, u64)> = BTreeMap::new();
    for left in left {
        let sum = sums.entry(process(&left.buffer)).or_default();
        sum.0 += 1;
        sum.1 = sum.1.saturating_add(left.buffer.size);
    }
    if sums.len() == left.len() {
        return Vec::new();
    }
    sums.into_iter()
        .map(|((name, pid), (count, bytes))| {
            let pid = pid.map_or(String::new(), |pid| format!(" ({pid})"));
            let name = if name.is_empty() {
                "-".to_owned()
            } else {
                text::escaped(&name)
            };
            format!(
                "  {name}{pid}: {}, {}",
                text::plural(count, "buffer"),
                text::size(bytes)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(inode: u64, pid: u32) -> Buffer {
        Buffer {
            inode: Some(inode),
            pid: Some(pid),
            size: 4096,
            thread: Some("t".into()),
            ..Buffer::default()
        }
    }

    #[test]
    fn new_buffers_are_left() {
        let before = Snapshot {
            rkheap_snapshot: 1,
            boot_id: "a".into(),
            complete: true,
            unidentified: 0,
            total_bytes: None,
            processes: vec![1, 5],
            buffers: vec![buffer(1, 5), buffer(2, 5)],
        };
        let after = [buffer(4, 9), buffer(3, 5), buffer(2, 5), Buffer::default()];
        let left: Vec<_> = left_buffers(&before, &after)
            .iter()
            .map(|left| (left.buffer.inode, left.maker_ran_before))
            .collect();
        assert_eq!(left, [(Some(3), Some(true)), (Some(4), Some(false))]);
    }

    #[test]
    fn growth_that_nothing_explains_is_not_an_all_clear() {
        let snapshot = |unidentified, total_bytes| Snapshot {
            rkheap_snapshot: 1,
            boot_id: "a".into(),
            complete: true,
            unidentified,
            total_bytes: Some(total_bytes),
            processes: Vec::new(),
            buffers: Vec::new(),
        };
        let all_seen = Comparison::new(&snapshot(0, 0), &snapshot(0, 0));
        assert!(all_seen.conclusive && !all_seen.may_have_left());
        let grown = Comparison::new(&snapshot(0, 4096), &snapshot(1, 8192));
        assert!(!grown.conclusive && grown.may_have_left());
        assert!(grown
            .change()
            .is_some_and(|line| line.contains("grew by 4 KiB")));
        let replaced = Comparison::new(&snapshot(1, 4096), &snapshot(1, 4096));
        assert!(!replaced.conclusive && !replaced.may_have_left());
    }
}
