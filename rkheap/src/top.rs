// SPDX-License-Identifier: GPL-2.0

//! `rkheap top`: [`sums`] computes the rows and [`gauges`] the areas, [`view`] handles keys,
//! [`draw`] draws the screen, with [`details`] of a row, [`save`] saves it, and [`terminal`] owns
//! the terminal.

mod details;
pub mod draw;
pub mod gauges;
mod save;
pub mod sums;
mod terminal;
#[cfg(test)]
mod tests;
pub mod view;

use crate::arguments::Top;
use crate::buffer::total_size;
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
use gauges::Gauges;
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

/// The width of the lines of areas with `--once`. One sample has no sparkline worth showing.
const ONCE_WIDTH: usize = 60;

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
    let live =
        std::io::stdout().is_terminal() && !output.json && options.count.is_none() && !options.once;
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
        // Of the begin of the sample, which takes its time on a busy machine.
        let elapsed = start.elapsed();
        let sample = Sample::take(system, options.by);
        if samples == 0 {
            output.print_remarks(&sample.remarks);
        }
        if options.once && !output.json {
            let mut gauges = Gauges::new(system);
            gauges.update(system);
            let mut lines: Vec<String> = gauges
                .all
                .iter()
                .map(|gauge| gauge.line(ONCE_WIDTH))
                .collect();
            lines.push(String::new());
            output.print_lines(&lines)?;
        }
        let rows = growth.rows(&sample, Sort::Growth);
        if output.json {
            let line = serde_json::to_string(&Report {
                elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                by: options.by.name(),
                total_bytes: total_size(&sample.buffers),
                buffers: sample.buffers.len(),
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
            if !options.once {
                lines.push(String::new());
            }
            output.print_lines(&lines)?;
        }
        samples += 1;
        if options.once || options.count.is_some_and(|count| samples >= count) {
            break;
        }
        interruption.sleep(interval);
    }
    Ok(())
}
