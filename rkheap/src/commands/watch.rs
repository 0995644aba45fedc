// SPDX-License-Identifier: GPL-2.0

//! `rkheap watch`: writes sums of buffers into a file, and `rkheap plot`: draws them.

use crate::arguments::{
    Plot,
    Watch, //
};
use crate::exit::Status;
use crate::interruption::Interruption;
use crate::output::Output;
use crate::series::{
    self,
    chart,
    Point,
    Writer, //
};
use crate::system::System;
use crate::top::sums::{
    Growth,
    Key,
    Row,
    Sample,
    Sort, //
};
use anyhow::{
    Context,
    Result, //
};
use std::path::Path;
use std::time::{
    Duration,
    SystemTime, //
};

/// Runs `watch` until a signal arrives or the number of samples is reached.
pub fn run(system: &System, output: Output, options: &Watch) -> Result<Status> {
    let interruption = Interruption::handle()?;
    let mut writer = Writer::create(&options.out)?;
    let mut growth = Growth::default();
    let mut samples = 0;
    while !interruption.has_come() {
        let sample = Sample::take(system, options.by);
        if samples == 0 {
            output.print_remarks(&sample.remarks);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time_ms = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let rows = growth.rows(&sample, Sort::Size).into_iter();
        let points: Vec<Point> = rows.map(|row| point(time_ms, row)).collect();
        writer
            .add(&points)
            .with_context(|| format!("cannot write to {}", options.out.display()))?;
        samples += 1;
        if options.count.is_some_and(|count| samples >= count) {
            break;
        }
        interruption.sleep(Duration::from_secs_f64(options.interval));
    }
    Ok(Status::Done)
}

fn point(time_ms: u64, row: Row) -> Point {
    let (name, pid) = match row.key {
        Key::Name(name) => (name, None),
        Key::Process { pid, name } => (name, Some(pid)),
        Key::Kernel => ("the kernel".to_owned(), None),
        Key::Unknown => ("unknown".to_owned(), None),
    };
    Point {
        time_ms,
        name,
        pid,
        buffers: row.buffers,
        bytes: row.bytes,
    }
}

/// Runs `plot`.
pub fn plot(output: Output, options: &Plot) -> Result<Status> {
    let svg = chart::draw(&series::read(&options.file)?)?;
    if options.svg == Path::new("-") {
        output.print_text(&svg)?;
    } else {
        std::fs::write(&options.svg, svg)
            .with_context(|| format!("cannot write to {}", options.svg.display()))?;
    }
    Ok(Status::Done)
}
