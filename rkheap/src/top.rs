// SPDX-License-Identifier: GPL-2.0

//! `rkheap top`: [`sums`] computes the rows, [`view`] draws the screen and handles keys, and
//! [`terminal`] owns the terminal.

pub mod sums;
mod terminal;
pub mod view;

use crate::arguments::Top;
use crate::exit::Status;
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
use signal_hook::consts::{
    SIGHUP,
    SIGINT,
    SIGTERM, //
};
use std::io::IsTerminal;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::sync::Arc;
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
use terminal::SIGNAL_POLL_INTERVAL;

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
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, interrupted.clone())
            .context("cannot handle signals")?;
    }
    let live = std::io::stdout().is_terminal() && !output.json && options.count.is_none();
    if live {
        terminal::run(system, output, options, &interrupted)?;
    } else {
        print(system, output, options, &interrupted)?;
    }
    Ok(Status::Done)
}

/// Prints a table, or one JSON object per line, after each interval.
fn print(system: &System, output: Output, options: &Top, interrupted: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    let interval = Duration::from_secs_f64(options.interval);
    let mut growth = Growth::default();
    let mut samples = 0;
    while !interrupted.load(Ordering::Relaxed) {
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
        let until = Instant::now() + interval;
        while !interrupted.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(SIGNAL_POLL_INTERVAL));
        }
    }
    Ok(())
}
