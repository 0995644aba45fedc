// SPDX-License-Identifier: GPL-2.0

//! `rkheap top`: [`sums`] adds up, [`view`] keeps what the user has chosen and draws it,
//! [`terminal`] has the terminal.

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
    Look,
    Row,
    Sort, //
};

/// How often signals are looked for.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Report<'a> {
    elapsed_ms: u64,
    by: &'a str,
    total_bytes: u64,
    buffers: usize,
    rows: &'a [Row],
    remarks: &'a [String],
}

pub fn run(system: &System, output: Output, options: &Top) -> Result<Status> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, ended.clone()).context("cannot handle signals")?;
    }
    let live = std::io::stdout().is_terminal() && !output.json && options.count.is_none();
    if live {
        terminal::run(system, output, options, &ended)?;
    } else {
        print(system, output, options, &ended)?;
    }
    Ok(Status::Done)
}

/// Prints a table, or an object a line, after each interval.
fn print(system: &System, output: Output, options: &Top, ended: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    let interval = Duration::from_secs_f64(options.interval);
    let mut growth = Growth::default();
    let mut looks = 0;
    while !ended.load(Ordering::Relaxed) {
        let look = Look::take(system, options.by);
        if looks == 0 {
            output.remarks(&look.remarks);
        }
        let rows = growth.rows(&look, Sort::Growth);
        if output.json {
            let line = serde_json::to_string(&Report {
                elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                by: options.by.word(),
                total_bytes: look.bytes,
                buffers: look.buffers,
                rows: &rows,
                remarks: &look.remarks,
            })
            .context("cannot be told as JSON")?;
            output.text(&(text::printable_json(&line) + "\n"))?;
        } else {
            let mut table = Table::new(&[
                (options.by.heading(), Align::Left),
                ("BUFFERS", Align::Right),
                ("SIZE", Align::Right),
                ("GROWN", Align::Right),
            ]);
            for row in rows {
                table.row(vec![
                    row.shown(),
                    row.buffers.to_string(),
                    text::size(row.bytes),
                    text::difference(row.grown_bytes),
                ]);
            }
            let mut lines = table.lines("");
            lines.push(String::new());
            output.lines(&lines)?;
        }
        looks += 1;
        if options.count.is_some_and(|count| looks >= count) {
            break;
        }
        let until = Instant::now() + interval;
        while !ended.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(PATIENCE));
        }
    }
    Ok(())
}
