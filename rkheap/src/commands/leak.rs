// SPDX-License-Identifier: GPL-2.0

//! `rkheap leak`

use super::snapshot::Snapshot;
use crate::arguments::Leak;
use crate::buffers::{
    Buffer,
    Survey, //
};
use crate::exit::Status;
use crate::output::Output;
use crate::run::{
    self,
    Ended, //
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
use std::collections::{
    BTreeMap,
    HashSet, //
};
use std::time::{
    Duration,
    Instant, //
};

/// How long to wait until looking again whether everything is released.
const PAUSE: Duration = Duration::from_millis(50);

/// A buffer that was not there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    #[serde(flatten)]
    pub buffer: Buffer,
    /// Whether the process that made it ran before already, so that it is no part of COMMAND.
    pub maker_ran_before: Option<bool>,
}

#[derive(Serialize)]
struct Report<'a> {
    run: Option<&'a Ended>,
    left_buffers: usize,
    left_bytes: u64,
    left: &'a [Left],
    remarks: &'a [String],
}

/// What is in `after` and was not in `before`, by process, the largest first.
pub fn left(before: &Snapshot, after: &[Buffer]) -> Vec<Left> {
    let known: HashSet<u64> = before.buffers.iter().filter_map(|b| b.inode).collect();
    let ran: HashSet<u32> = before.processes.iter().copied().collect();
    let mut left: Vec<Left> = after
        .iter()
        .filter(|buffer| buffer.inode.is_some_and(|inode| !known.contains(&inode)))
        .map(|buffer| Left {
            maker_ran_before: buffer.pid.map(|pid| ran.contains(&pid)),
            buffer: buffer.clone(),
        })
        .collect();
    left.sort_by(|a, b| {
        let key = |left: &Left| {
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

/// The process that made a buffer; where that is not known, the first that holds it.
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

pub fn run(system: &System, output: Output, options: &Leak) -> Result<Status> {
    let (before, ended) = match &options.since {
        Some(path) => (Snapshot::load(path)?, None),
        None => {
            let before = Snapshot::take(system)?.0;
            (before, Some(run::run(&options.run, output.json)?))
        }
    };
    let start = Instant::now();
    let settle = Duration::from_secs_f64(options.settle);
    let (left, survey) = loop {
        let (after, survey) = Snapshot::take(system)?;
        ensure!(
            before.is_of_same_boot(&after),
            "the snapshot is from before this boot, and all buffers are others now; make a new one"
        );
        let left = left(&before, &after.buffers);
        // The kernel releases what a process held a moment after the process has ended.
        if left.is_empty() || ended.is_none() || start.elapsed() >= settle {
            break (left, survey);
        }
        std::thread::sleep(PAUSE);
    };
    let mut remarks = survey.remarks.clone();
    if before.complete != survey.complete {
        remarks.push(
            "the snapshot was made with other rights than these, so what is new may have been there; make both as root"
                .to_owned(),
        );
    }
    print(output, ended.as_ref(), &left, &survey, remarks)?;
    Ok(if !left.is_empty() {
        Status::Leak
    } else if ended.is_some_and(|ended| !ended.is_success()) {
        Status::CommandFailed
    } else {
        Status::Done
    })
}

fn print(
    output: Output,
    ended: Option<&Ended>,
    left: &[Left],
    survey: &Survey,
    mut remarks: Vec<String>,
) -> Result<()> {
    let bytes = left
        .iter()
        .fold(0u64, |sum, left| sum.saturating_add(left.buffer.size));
    if output.json {
        return output.value(&Report {
            run: ended,
            left_buffers: left.len(),
            left_bytes: bytes,
            left,
            remarks: &remarks,
        });
    }
    remarks.splice(0..0, ended.and_then(Ended::failure));
    output.remarks(&remarks);
    if left.is_empty() {
        let seen = if survey.complete {
            "nothing was left behind"
        } else {
            "nothing was left behind that can be seen"
        };
        return output.lines(&[seen.to_owned()]);
    }
    let mut lines = vec![output.alarming(&format!(
        "left behind: {}, {}",
        text::plural(left.len(), "buffer"),
        text::size(bytes)
    ))];
    let mut table = table(left).lines("  ");
    if let Some(heading) = table.first_mut() {
        *heading = output.bold(heading);
    }
    lines.extend(table);
    lines.extend(sums(left));
    output.lines(&lines)
}

fn table(left: &[Left]) -> Table {
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
            name => text::shown(name),
        };
        let ran_before = match left.maker_ran_before {
            Some(true) => " (ran before)",
            _ => "",
        };
        table.row(vec![
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

/// Who holds a buffer now: processes, else devices, else the kernel.
fn holders(buffer: &Buffer) -> String {
    let processes = buffer.holders.iter().map(|holder| {
        let mut how = Vec::new();
        if holder.descriptors > 0 {
            how.push(format!("{} fd", holder.descriptors));
        }
        if holder.mappings > 0 {
            how.push(format!("{} map", holder.mappings));
        }
        format!(
            "{}:{} ({})",
            holder.pid,
            text::shown(&holder.name),
            how.join(", ")
        )
    });
    let devices = buffer
        .devices
        .iter()
        .map(|device| format!("device {}", text::shown(device)));
    let all: Vec<String> = processes.chain(devices).collect();
    if all.is_empty() {
        "the kernel".to_owned()
    } else {
        all.join(", ")
    }
}

/// Where there are several processes, or several buffers of one: how much each left.
fn sums(left: &[Left]) -> Vec<String> {
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
                text::shown(&name)
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
    fn what_is_new_is_left() {
        let before = Snapshot {
            rkheap_snapshot: 1,
            boot_id: "a".into(),
            complete: true,
            processes: vec![1, 5],
            buffers: vec![buffer(1, 5), buffer(2, 5)],
        };
        let after = [buffer(4, 9), buffer(3, 5), buffer(2, 5), Buffer::default()];
        let left: Vec<_> = left(&before, &after)
            .iter()
            .map(|left| (left.buffer.inode, left.maker_ran_before))
            .collect();
        assert_eq!(left, [(Some(3), Some(true)), (Some(4), Some(false))]);
    }
}
