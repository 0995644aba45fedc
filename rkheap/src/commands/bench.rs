// SPDX-License-Identifier: GPL-2.0

//! `rkheap bench`

use crate::areas::page_size;
use crate::arguments::Bench;
use crate::exit::Status;
use crate::heap_node::HeapNode;
use crate::heaps;
use crate::output::{
    remark_line,
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

/// The times of one operation, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    pub least: u64,
    pub median: u64,
    pub most: u64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let nanoseconds = |time: Option<&Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        };
        Times {
            least: nanoseconds(times.first()),
            median: nanoseconds(times.get(times.len() / 2)),
            most: nanoseconds(times.last()),
        }
    }

    fn shown(&self) -> String {
        let time = |nanoseconds| text::time(Duration::from_nanos(nanoseconds));
        format!(
            "{} ({} .. {})",
            time(self.median),
            time(self.least),
            time(self.most)
        )
    }
}

#[derive(Serialize)]
struct Row {
    bytes: u64,
    count: u32,
    allocate_ns: Times,
    /// Mapping, a byte written to each page, unmapping.
    write_ns: Times,
    free_ns: Times,
}

#[derive(Serialize)]
struct Report<'a> {
    heap: &'a str,
    rows: Vec<Row>,
}

pub fn run(system: &System, output: Output, options: &Bench) -> Result<Status> {
    let path = heaps::node(system, &options.heap)?;
    let heap = HeapNode::open(&path)?;
    let mut rows = Vec::new();
    for size in &options.size {
        let (mut allocate, mut write, mut free) = (Vec::new(), Vec::new(), Vec::new());
        let mut told = Instant::now();
        for number in 0..options.count {
            if told.elapsed() > Duration::from_secs(1) {
                told = Instant::now();
                progress(&format!(
                    "{}: {number} of {}",
                    text::size(*size),
                    options.count
                ));
            }
            let start = Instant::now();
            let buffer = heap
                .allocate(*size)
                .with_context(|| format!("{} gives no {}", path.display(), text::size(*size)))?;
            allocate.push(start.elapsed());
            let start = Instant::now();
            buffer.write_all_pages(*size, page_size())?;
            write.push(start.elapsed());
            let start = Instant::now();
            drop(buffer);
            free.push(start.elapsed());
        }
        progress("");
        rows.push(Row {
            bytes: *size,
            count: options.count,
            allocate_ns: Times::of(allocate),
            write_ns: Times::of(write),
            free_ns: Times::of(free),
        });
    }
    if output.json {
        output.value(&Report {
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
        table.row(vec![
            text::size(row.bytes),
            row.allocate_ns.shown(),
            row.write_ns.shown(),
            row.free_ns.shown(),
        ]);
    }
    let mut lines = vec![output.bold(&format!(
        "{}: {} each, median (least .. most)",
        text::shown(&options.heap),
        text::plural(options.count as usize, "buffer")
    ))];
    lines.extend(table.lines("  "));
    output.lines(&lines)?;
    if cfg!(debug_assertions) {
        remark_line("this rkheap was built without optimisation");
    }
    Ok(Status::Done)
}

/// Shows on a terminal how far it is.
fn progress(text: &str) {
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
    fn times_are_put_in_order() {
        let times = [5, 1, 9].map(Duration::from_nanos).to_vec();
        let expected = Times {
            least: 1,
            median: 5,
            most: 9,
        };
        assert_eq!(Times::of(times), expected);
        assert_eq!(Times::of(Vec::new()), Times::default());
    }
}
