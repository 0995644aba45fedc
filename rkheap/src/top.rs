// SPDX-License-Identifier: GPL-2.0

//! `rkheap top`: [`sums`] computes the rows, [`view`] draws the screen and handles keys, and
//! [`terminal`] owns the terminal.

pub mod sums;
mod terminal;
pub mod view;

use crate::arguments::Top;
use crate::exit::Status;
use crate::interruption::Interruption;
use crate::output::Output;
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
use std::io::IsTerminal;
use std::time::{
    Duration,
    Instant, //
};
use sums::{
    Growth,
    Row,
    Sample,
    Sort, //
};

/// The JSON output after each interval.
#[derive(Serialize)]
struct Report<'a> {
    elapsed_ms: u64,
    by: &'a str,
    total_bytes: u64,
    buffers: usize,
    rows: &'a [Row],
    remarks: &'a [String],
}

/// Runs the command until a signal arrives, the user quits, or the number of updates is reached.
pub fn run(system: &System, output: Output, options: &Top) -> Result<Status> {
    let interruption = Interruption::handle()?;
    let live = std::io::stdout().is_terminal() && !output.json && options.count.is_none();
    if live {
        terminal::run(system, output, options, &interruption)?;
    } else {
        print(system, output, options, &interruption)?;
    }
    Ok(Status::Done)
}

/// Prints a table, or one JSON object per line, after each interval.
fn print(
    system: &System,
    output: Output,
    options: &Top,
    interruption: &Interruption,
) -> Result<()> {
    let start = Instant::now();
    let interval = Duration::from_secs_f64(options.interval);
    let mut growth = Growth::default();
    let mut samples = 0;
    while !interruption.has_come() {
        let sample = Sample::take(system, options.by);
        if samples == 0 {
            output.print_remarks(&sample.remarks);
        }
        let rows = growth.rows(&sample, Sort::Growth);
        if output.json {
            let line = serde_json::to_string(&Report {
                elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                by: options.by.name(),
                total_bytes: sample.bytes,
                buffers: sample.buffers,
                rows: &rows,
                remarks: &sample.remarks,
            })
            .context("cannot serialize JSON")?;
            output.print_text(&(text::escaped_json(&line) + "\n"))?;
        } else {
            let mut table = Table::new(&[
                (options.by.heading(), Align::Left),
                ("BUFFERS", Align::Right),
                ("SIZE", Align::Right),
                ("GROWN", Align::Right),
            ]);
            for row in rows {
                table.add_row(vec![
                    row.label(),
                    row.buffers.to_string(),
                    text::size(row.bytes),
                    text::difference(row.grown_bytes),
                ]);
            }
            let mut lines = table.lines("");
            lines.push(String::new());
            output.print_lines(&lines)?;
        }
        samples += 1;
        if options.count.is_some_and(|count| samples >= count) {
            break;
        }
        interruption.sleep(interval);
    }
    Ok(())
}
