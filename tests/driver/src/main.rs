// SPDX-License-Identifier: GPL-2.0

//! Runs the suites of tests, on this machine and in virtual machines, and ends with one line that counts.

mod cargo;
mod count;
mod guest;
mod ktap;
mod progress;
mod suites;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

use count::{Count, Outcome};
use progress::Progress;
use suites::{Place, Suite, SUITES};

/// Run the suites of tests and count: the last line is `N passed, N failed, N skipped`
#[derive(Parser)]
struct Arguments {
    /// Row of qemu/targets to test; may be given several times
    #[arg(long, value_name = "NAME", default_value = "arm64")]
    target: Vec<String>,

    /// Run only the suites whose name contains TEXT
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Print the suites and what each promises, and run none
    #[arg(long)]
    list: bool,
}

/// Where everything is.
struct Paths {
    project: PathBuf,
    /// What set-up made for the target: its kernel tree and how to build with it.
    target: PathBuf,
    logs: PathBuf,
}

impl Paths {
    fn find(target: &str) -> Result<Paths> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .context("the project has moved since the test driver was built; build it again")?;
        let logs = project.join("build/test-logs");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Paths {
            target: project.join("build/setup").join(target),
            project,
            logs,
        })
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    // What runs on this machine is the same for all targets.
    let first = arguments.target.first();
    let chosen = |target: &String| -> Vec<&Suite> {
        SUITES
            .iter()
            .filter(|suite| suite.name.contains(&arguments.filter) && suite.runs_on(target))
            .filter(|suite| Some(target) == first || matches!(suite.place, Place::Guest(_)))
            .collect()
    };
    if arguments.list {
        for target in &arguments.target {
            for suite in chosen(target) {
                println!("{target} {:<16} {}", suite.name, suite.promise);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }

    let mut total = Count::default();
    for target in &arguments.target {
        let paths = Paths::find(target)?;
        let start = Instant::now();
        for suite in chosen(target) {
            total += run(suite, target, &paths);
        }
        println!(
            "{target} in {:.0} s; everything that was printed is in {}",
            start.elapsed().as_secs_f64(),
            paths.logs.display()
        );
    }
    println!("{total}");
    Ok(if total.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a suite and prints what came of it. A suite that cannot be run is a failure like any other.
fn run(suite: &Suite, target: &str, paths: &Paths) -> Count {
    let progress = Progress::start(suite.name);
    let outcome = match suite.place {
        Place::Host { packages } => cargo::run(suite.name, packages, paths, &progress),
        Place::Guest(ref guest) => guest::run(suite.name, guest, target, paths, &progress),
    }
    .unwrap_or_else(|error| Outcome::failure(format!("cannot be run: {error:#}")));
    let elapsed = progress.finish();
    println!(
        "{:<16} {:<40} {:>6.1} s",
        suite.name,
        outcome.count.to_string(),
        elapsed.as_secs_f64()
    );
    for line in &outcome.remarks {
        println!("    {line}");
    }
    outcome.count
}
