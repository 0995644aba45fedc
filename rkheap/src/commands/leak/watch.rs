// SPDX-License-Identifier: GPL-2.0

//! `rkheap leak --watch`: how the buffers of programs that run already grow.

use super::{
    report,
    Comparison, //
};
use crate::arguments::Leak;
use crate::buffer::{
    total_size,
    Buffer, //
};
use crate::commands::snapshot::Snapshot;
use crate::exit::{
    Missing,
    Status, //
};
use crate::interruption::Interruption;
use crate::output::Output;
use crate::stacks::Recorder;
use crate::system::System;
use crate::text;
use anyhow::{
    Context,
    Result, //
};
use serde::Serialize;
use std::time::{
    Duration,
    Instant, //
};

/// A sum at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Sample {
    elapsed_ms: u64,
    buffers: usize,
    bytes: u64,
    /// The difference to the first sample.
    grown_bytes: i64,
    /// The slope of the line that fits all samples best. 0 for the first.
    bytes_per_second: i64,
}

/// The sums since the start.
#[derive(Default)]
struct Course {
    samples: Vec<Sample>,
}

impl Course {
    /// Adds a sum.
    fn add(&mut self, elapsed: Duration, buffers: &[Buffer]) -> Sample {
        let bytes = total_size(buffers);
        let first = self.samples.first().map_or(bytes, |first| first.bytes);
        let mut sample = Sample {
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            buffers: buffers.len(),
            bytes,
            grown_bytes: i64::try_from(i128::from(bytes) - i128::from(first)).unwrap_or(i64::MAX),
            bytes_per_second: 0,
        };
        self.samples.push(sample);
        sample.bytes_per_second = self.slope();
        sample
    }

    /// Returns the slope by the method of least squares, in bytes a second.
    fn slope(&self) -> i64 {
        let count = self.samples.len() as f64;
        let points = || {
            let samples = self.samples.iter();
            samples.map(|sample| (sample.elapsed_ms as f64 / 1000.0, sample.bytes as f64))
        };
        let mean_time = points().map(|(time, _)| time).sum::<f64>() / count;
        let mean_bytes = points().map(|(_, bytes)| bytes).sum::<f64>() / count;
        let above: f64 = points()
            .map(|(time, bytes)| (time - mean_time) * (bytes - mean_bytes))
            .sum();
        let below: f64 = points()
            .map(|(time, _)| (time - mean_time) * (time - mean_time))
            .sum();
        if below == 0.0 {
            return 0;
        }
        (above / below).round() as i64
    }
}

/// Prints the sum after each interval, until the process has ended, the sum has grown by the limit,
/// or a signal arrives, and then what is newer than the start.
pub fn run(system: &System, output: Output, options: &Leak) -> Result<Status> {
    let interruption = Interruption::handle()?;
    let recorder = options.stacks.then(|| Recorder::start(system));
    let recorder = recorder.transpose()?;
    let start = Instant::now();
    let (before, survey) = Snapshot::take(system)?;
    output.print_remarks(&survey.remarks);
    let mut after = before.clone();
    let mut course = Course::default();
    let ended = |snapshot: &Snapshot| {
        let pid = options.pid;
        pid.is_some_and(|pid| !snapshot.processes.contains(&pid))
    };
    if let (true, Some(pid)) = (ended(&before), options.pid) {
        return Err(Missing(format!("there is no process {pid}, or it has ended")).into());
    }
    let mut count = 0;
    let too_much = loop {
        let of_process = |buffer: &&Buffer| options.pid.is_none_or(|pid| buffer.is_of(pid));
        let buffers: Vec<Buffer> = after.buffers.iter().filter(of_process).cloned().collect();
        let sample = course.add(start.elapsed(), &buffers);
        print(output, &sample)?;
        count += 1;
        let limit = options.limit.and_then(|limit| i64::try_from(limit).ok());
        let too_much = limit.is_some_and(|limit| sample.grown_bytes > limit);
        let enough = options.count.is_some_and(|most| count >= most);
        if too_much || enough || ended(&after) || interruption.has_come() {
            break too_much;
        }
        interruption.sleep(Duration::from_secs_f64(options.interval));
        after = Snapshot::take(system)?.0;
    };
    let mut comparison = Comparison::new(&before, &after, options.pid);
    let mut remarks = Vec::new();
    if let (true, Some(limit)) = (too_much, options.limit) {
        remarks.push(format!("grown by more than {}", text::size(limit)));
    }
    if let (true, Some(pid)) = (ended(&after), options.pid) {
        remarks.push(format!("process {pid} has ended"));
    }
    remarks.extend(comparison.add_stacks(recorder.as_ref())?);
    report::print(system, output, options, None, &comparison, remarks)?;
    // A program that runs may hold what it has made.
    let is_leak = too_much || ended(&after) && !comparison.left.is_empty();
    Ok(if is_leak {
        Status::Leak
    } else if !comparison.conclusive {
        Status::Inconclusive
    } else {
        Status::Done
    })
}

/// Prints a sample.
fn print(output: Output, sample: &Sample) -> Result<()> {
    if output.json {
        let line = serde_json::to_string(sample).context("cannot serialize JSON")?;
        return output.print_text(&(line + "\n"));
    }
    output.print_text(&format!(
        "{:>8}  {:>12}  {:>12}  {:>12}  {:>12}/s\n",
        text::age(sample.elapsed_ms),
        text::plural(sample.buffers, "buffer"),
        text::size(sample.bytes),
        text::difference(sample.grown_bytes),
        text::difference(sample.bytes_per_second),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_slope() {
        let buffers = |count| {
            vec![
                Buffer {
                    size: 1000,
                    ..Buffer::default()
                };
                count
            ]
        };
        let mut course = Course::default();
        let mut samples = Vec::new();
        for (second, count) in [(0, 5), (1, 7), (2, 9), (3, 2)] {
            let sample = course.add(Duration::from_secs(second), &buffers(count));
            samples.push((sample.bytes, sample.grown_bytes, sample.bytes_per_second));
        }
        assert_eq!(
            samples,
            [
                (5000, 0, 0),
                (7000, 2000, 2000),
                (9000, 4000, 2000),
                (2000, -3000, -700)
            ]
        );
    }
}
