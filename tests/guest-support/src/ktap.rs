// SPDX-License-Identifier: GPL-2.0

//! Runs tests and reports the results in KTAP, the format of the kernel's own tests.
//!
//! Each test runs in its own process. A crash, a hang or a leaked descriptor fails one test and
//! does not affect the next one. After each test the number of DMA-BUFs in the system must be the
//! same as before.

use crate::checkers;
use crate::dma_buf;
use crate::process::{
    Child,
    Skipped,
    Verdict, //
};
use crate::retry::eventually;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::io::Write;
use std::process::ExitCode;
use std::time::{
    Duration,
    Instant, //
};

/// Default timeout of a test.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How many times slower than usual a machine may be. The timeouts are for tests that hang; what a
/// test promises about time, it measures itself.
const SLOW_MACHINE: u32 = 3;

/// The variable that says for how long the machine runs before it is killed, in seconds. The driver
/// sets it.
const MACHINE_SECONDS: &str = "MACHINE_SECONDS";

/// The duration of a test is reported if it is longer than this.
const REPORT_THRESHOLD: Duration = Duration::from_secs(2);

/// Time within which the kernel must release the resources of an exited process.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Command line options of every test program.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Run only tests whose name contains one of these strings
    #[arg(value_name = "PART")]
    only: Vec<String>,

    /// Print the names of the tests instead of running them
    #[arg(long)]
    list: bool,
}

struct Test {
    name: String,
    limit: Duration,
    body: Box<dyn Fn() -> Result<()>>,
}

/// The tests of a program, in the order in which they run.
#[derive(Default)]
pub struct Tests(Vec<Test>);

impl Tests {
    /// Adds a test. Names are paths from the general to the specific.
    pub fn add(&mut self, name: impl Into<String>, body: impl Fn() -> Result<()> + 'static) {
        self.add_within(DEFAULT_TIMEOUT, name, body);
    }

    /// Adds a test with a timeout.
    pub fn add_within(
        &mut self,
        limit: Duration,
        name: impl Into<String>,
        body: impl Fn() -> Result<()> + 'static,
    ) {
        self.0.push(Test {
            name: name.into(),
            limit,
            body: Box::new(body),
        });
    }

    /// Runs the tests. Returns success if at least one test was selected and none failed.
    pub fn run(mut self, options: &Options) -> ExitCode {
        let only = &options.only;
        self.0.retain(|test| {
            only.is_empty() || only.iter().any(|part| test.name.contains(part.as_str()))
        });
        if options.list {
            self.0.iter().for_each(|test| println!("{}", test.name));
            return ExitCode::SUCCESS;
        }
        std::panic::set_hook(Box::new(|info| diagnose(&info.to_string())));
        println!("KTAP version 1");
        println!("1..{}", self.0.len());
        let mut failures = 0;
        for (index, test) in self.0.iter().enumerate() {
            let start = Instant::now();
            let verdict = test.run().unwrap_or_else(|error| {
                Verdict::Failed(format!("the test could not be run: {error:#}"))
            });
            if start.elapsed() > REPORT_THRESHOLD {
                diagnose(&format!("took {:.1} s", start.elapsed().as_secs_f64()));
            }
            let (result, directive) = match verdict {
                Verdict::Passed => ("ok", String::new()),
                Verdict::Skipped(reason) => ("ok", format!(" # SKIP {reason}")),
                Verdict::Failed(reason) => {
                    diagnose(&reason);
                    ("not ok", String::new())
                }
                Verdict::Killed(signal) => {
                    diagnose(&format!("the test was killed by {signal}"));
                    ("not ok", String::new())
                }
            };
            failures += usize::from(result == "not ok");
            println!("{result} {} - {}{directive}", index + 1, test.name);
            let _ = std::io::stdout().flush();
        }
        if failures == 0 && !self.0.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Returns how long a test may run, so that it is named before the machine is killed. Without the
/// driver nobody kills it.
fn time_left() -> Result<Option<Duration>> {
    let Ok(seconds) = std::env::var(MACHINE_SECONDS) else {
        return Ok(None);
    };
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    left_of(&seconds, &uptime).map(Some)
}

/// Returns the time that is left of so many seconds at this `/proc/uptime`, of which a tenth is for
/// the start of the machine and for what follows the test.
fn left_of(seconds: &str, uptime: &str) -> Result<Duration> {
    let end = Duration::from_secs(seconds.parse().context(MACHINE_SECONDS)?) / 10 * 9;
    let uptime = uptime.split(' ').next().unwrap_or_default();
    let uptime = Duration::from_secs_f64(uptime.parse().context("/proc/uptime")?);
    Ok(end.saturating_sub(uptime))
}

impl Test {
    fn run(&self) -> Result<Verdict> {
        let mut limit = self.limit * SLOW_MACHINE;
        if let Some(left) = time_left()? {
            ensure!(!left.is_zero(), "the time of the machine is over");
            // What waits multiplies it.
            limit = limit.min(left / checkers::timeout_factor());
        }
        let before = dma_buf::totals()?;
        let mut child = Child::run(&self.body)?;
        let verdict = match child.wait(limit)? {
            Some(verdict) => verdict,
            None => Verdict::Failed(format!("still running after {limit:?}")),
        };
        drop(child);
        let released = eventually(RELEASE_TIMEOUT, || {
            let after = dma_buf::totals()?;
            ensure!(
                after == before,
                "leaked buffers: {before:?} before, {after:?} after"
            );
            Ok(())
        });
        Ok(match (verdict, released) {
            (Verdict::Passed, Err(error)) => Verdict::Failed(format!("{error:#}")),
            (verdict, Err(error)) => {
                diagnose(&format!("{error:#}"));
                verdict
            }
            (verdict, Ok(())) => verdict,
        })
    }
}

/// Prints a KTAP diagnostic line for the running test.
pub fn diagnose(text: &str) {
    for line in text.lines() {
        println!("# {line}");
    }
}

/// Returns an error that marks the test as skipped.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skipped(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_ends_before_its_machine() {
        let left = |uptime| left_of("600", uptime).unwrap().as_secs();
        assert_eq!(left("40.00 60.52\n"), 500);
        assert_eq!(left("541.00 60.52\n"), 0);
        assert!(left_of("many", "1.00 1.00\n").is_err());
    }
}
