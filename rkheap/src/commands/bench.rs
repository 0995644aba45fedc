// SPDX-License-Identifier: GPL-2.0

//! `rkheap bench`: measures the time to allocate, write and free buffers.

use crate::areas::page_size;
use crate::arguments::Bench;
use crate::exit::Status;
use crate::heap_node::HeapNode;
use crate::heaps;
use crate::output::{
    print_remark,
    Output, //
};
use crate::system::System;
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::{
    Context,
    Result, //
};
use serde::Serialize;
use std::io::{
    IsTerminal,
    Write, //
};
use std::time::{
    Duration,
    Instant, //
};

/// Time between two updates of the progress line.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The times of one operation, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    #[serde(rename = "least")]
    pub min: u64,
    pub median: u64,
    #[serde(rename = "most")]
    pub max: u64,
}

impl Times {
    /// Sorts `times` and returns their minimum, median and maximum. All are 0 if there are none.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let nanoseconds = |time: Option<&Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        };
        Times {
            min: nanoseconds(times.first()),
            median: nanoseconds(times.get(times.len() / 2)),
            max: nanoseconds(times.last()),
        }
    }

    fn formatted(&self) -> String {
        let time = |nanoseconds| text::time(Duration::from_nanos(nanoseconds));
        format!(
            "{} ({} .. {})",
            time(self.median),
            time(self.min),
            time(self.max)
        )
    }
}

/// The results for one size.
#[derive(Serialize)]
struct Row {
    bytes: u64,
    count: u32,
    allocate_ns: Times,
    /// Time to map the buffer, write one byte to each page, and unmap.
    write_ns: Times,
    free_ns: Times,
}

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    heap: &'a str,
    rows: Vec<Row>,
}

/// Runs the command.
pub fn run(system: &System, output: Output, options: &Bench) -> Result<Status> {
    let node = heaps::node(system, &options.heap)?;
    let heap = HeapNode::open(system, &node)?;
    let mut rows = Vec::new();
    for size in &options.size {
        let (mut allocate, mut write, mut free) = (Vec::new(), Vec::new(), Vec::new());
        let mut last_progress = Instant::now();
        for number in 0..options.count {
            if last_progress.elapsed() > PROGRESS_INTERVAL {
                last_progress = Instant::now();
                print_progress(&format!(
                    "{}: {number} of {}",
                    text::size(*size),
                    options.count
                ));
            }
            let start = Instant::now();
            let buffer = heap
                .allocate(*size)
                .with_context(|| format!("cannot allocate {} from {}", text::size(*size), node))?;
            allocate.push(start.elapsed());
            let start = Instant::now();
            buffer.write_all_pages(*size, page_size())?;
            write.push(start.elapsed());
            let start = Instant::now();
            drop(buffer);
            free.push(start.elapsed());
        }
        print_progress("");
        rows.push(Row {
            bytes: *size,
            count: options.count,
            allocate_ns: Times::of(allocate),
            write_ns: Times::of(write),
            free_ns: Times::of(free),
        });
    }
    if output.json {
        output.print_json(&Report {
            heap: &options.heap,
            rows,
        })?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[
        ("SIZE", Align::Right),
        ("ALLOCATE", Align::Left),
        ("WRITE EACH PAGE", Align::Left),
        ("FREE", Align::Left),
    ]);
    for row in &rows {
        table.add_row(vec![
            text::size(row.bytes),
            row.allocate_ns.formatted(),
            row.write_ns.formatted(),
            row.free_ns.formatted(),
        ]);
    }
    let mut lines = vec![output.bold(&format!(
        "{}: {} each, median (least .. most)",
        text::escaped(&options.heap),
        text::plural(options.count as usize, "buffer")
    ))];
    lines.extend(table.lines("  "));
    output.print_lines(&lines)?;
    if cfg!(debug_assertions) {
        print_remark(
            "this rkheap is a debug build, so the times are too long: build it with --release",
        );
    }
    Ok(Status::Done)
}

/// Replaces the progress line, if standard error is a terminal.
fn print_progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{text}");
        let _ = stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sorted() {
        let times = [5, 1, 9].map(Duration::from_nanos).to_vec();
        let expected = Times {
            min: 1,
            median: 5,
            max: 9,
        };
        assert_eq!(Times::of(times), expected);
        assert_eq!(Times::of(Vec::new()), Times::default());
    }
}
