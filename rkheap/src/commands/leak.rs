// SPDX-License-Identifier: GPL-2.0

//! `rkheap leak`: the buffers that are newer than a snapshot, or than the start of a command, or of
//! a watch.

mod groups;
mod report;
mod watch;

use super::snapshot::Snapshot;
use crate::arguments::{
    Arguments,
    Leak, //
};
use crate::buffer::Buffer;
use crate::exit::Status;
use crate::output::Output;
use crate::parse::trace_file::Stack;
use crate::run;
use crate::stacks::Recorder;
use crate::system::System;
use crate::text;
use anyhow::{
    ensure,
    Result, //
};
use clap::error::ErrorKind;
use clap::CommandFactory;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::HashSet;
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
    /// The call stack of its allocation, if it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
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
    /// Compares two snapshots. With `pid`, what other processes made and hold is left out.
    fn new(before: &Snapshot, after: &Snapshot, pid: Option<u32>) -> Self {
        let mut left = left_buffers(before, &after.buffers);
        left.retain(|left| pid.is_none_or(|pid| left.buffer.is_of(pid)));
        Comparison {
            left,
            conclusive: before.identifies_all() && after.identifies_all(),
            before: before.total_bytes,
            after: after.total_bytes,
        }
    }

    /// Adds the call stacks that a recorder has. Returns what is missing.
    fn add_stacks(&mut self, recorder: Option<&Recorder>) -> Result<Option<String>> {
        let Some(recorder) = recorder else {
            return Ok(None);
        };
        let stacks = recorder.stacks()?;
        for left in &mut self.left {
            let inode = left.buffer.inode;
            left.stack = inode.and_then(|inode| stacks.of(inode)).cloned();
        }
        Ok(stacks.remark)
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
            stack: None,
        })
        .collect();
    left.sort_by(|a, b| {
        let key = |left: &LeftBuffer| {
            let buffer = &left.buffer;
            (
                buffer.process(),
                std::cmp::Reverse((buffer.size, buffer.age_ms)),
                buffer.inode,
            )
        };
        key(a).cmp(&key(b))
    });
    left
}

/// Runs the command.
pub fn run(system: &System, output: Output, options: &Leak) -> Result<Status> {
    if options.watch {
        return watch::run(system, output, options);
    }
    if options.since.is_none() && options.command.is_empty() {
        // Exits without dropping anything.
        usage();
    }
    let recorder = options.stacks.then(|| Recorder::start(system));
    let recorder = recorder.transpose()?;
    let (before, command) = match &options.since {
        Some(path) => (Snapshot::load(path)?, None),
        None => {
            let before = Snapshot::take(system)?.0;
            (before, Some(run::run(&options.command, output.json)?))
        }
    };
    let start = Instant::now();
    let settle = Duration::from_secs_f64(options.settle);
    let (mut comparison, survey) = loop {
        let (after, survey) = Snapshot::take(system)?;
        ensure!(
            before.is_of_same_boot(&after),
            "the snapshot is from before this boot, so its inode numbers are invalid: take a new \
             one with `rkheap snapshot > FILE`"
        );
        let comparison = Comparison::new(&before, &after, options.pid);
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
    remarks.extend(comparison.add_stacks(recorder.as_ref())?);
    report::print(
        system,
        output,
        options,
        command.as_ref(),
        &comparison,
        remarks,
    )?;
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

/// Says what the command line lacks, and exits.
fn usage() -> ! {
    let lacks = "nothing to compare with: give a command after --, as in\n  \
                 rkheap leak -- ffmpeg -i in.mp4 -f null -\n\
                 or --since SNAPSHOT, or --watch for programs that run already";
    let mut arguments = Arguments::command();
    arguments
        .error(ErrorKind::MissingRequiredArgument, lacks)
        .exit()
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
        let all_seen = Comparison::new(&snapshot(0, 0), &snapshot(0, 0), None);
        assert!(all_seen.conclusive && !all_seen.may_have_left());
        let grown = Comparison::new(&snapshot(0, 4096), &snapshot(1, 8192), None);
        assert!(!grown.conclusive && grown.may_have_left());
        assert!(grown
            .change()
            .is_some_and(|line| line.contains("grew by 4 KiB")));
        let replaced = Comparison::new(&snapshot(1, 4096), &snapshot(1, 4096), None);
        assert!(!replaced.conclusive && !replaced.may_have_left());
    }
}
