// SPDX-License-Identifier: GPL-2.0

//! Runs the suites of tests, on this machine and in virtual machines, and ends with one line that
//! counts.

mod cargo;
mod count;
mod guest;
mod ktap;
mod progress;
mod schedule;
mod suites;

use std::collections::BTreeMap;
use std::path::{
    Path,
    PathBuf, //
};
use std::process::ExitCode;

use anyhow::{
    Context,
    Result, //
};
use clap::Parser;

use count::{
    Count,
    Outcome, //
};
use progress::Progress;
use schedule::{
    Done,
    Job, //
};
use suites::{
    Part,
    Place, //
};

/// Run the suites of tests and count: the last line is `N passed, N failed, N skipped`
#[derive(Parser)]
struct Arguments {
    /// Row of qemu/targets to test; may be given several times
    #[arg(long, value_name = "NAME", default_value = "arm64")]
    target: Vec<String>,

    /// Run only the suites whose name contains TEXT
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// How many virtual machines run at once, those aside whose result others would blur
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,

    /// Run only the suites of this part
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,

    /// Print the suites and what each promises, and run none
    #[arg(long)]
    list: bool,
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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
    let mut jobs = Vec::new();
    for target in &arguments.target {
        for suite in suites::all() {
            let here = Some(target) == first || matches!(suite.place, Place::Guest(_));
            // What runs on this machine is part of `make test`.
            let part = match suite.place {
                Place::Host { .. } => Part::Test,
                Place::Guest(_) => suite.part_on(target),
            };
            let wanted = [part, Part::All].contains(&arguments.part);
            if here && wanted && suite.name.contains(&arguments.filter) && suite.runs_on(target) {
                jobs.push(Job { target, suite });
            }
        }
    }
    if arguments.list {
        for Job { target, suite } in jobs {
            println!("{target} {:<16} {}", suite.name, suite.promise);
        }
        return Ok(ExitCode::SUCCESS);
    }

    let start = std::time::Instant::now();
    let mut paths = BTreeMap::new();
    for target in &arguments.target {
        paths.insert(target.as_str(), Paths::find(target)?);
    }
    let done = schedule::run(&jobs, arguments.jobs, |job| match paths.get(job.target) {
        Some(paths) => run(job, paths, arguments.jobs > 1),
        None => Outcome::default(),
    });
    schedule::print_times(&done, start.elapsed());
    print_failures(&done);
    if let Some(paths) = paths.values().next() {
        println!("everything that was printed is in {}", paths.logs.display());
    }
    let mut total = Count::default();
    for done in done {
        total += done.result.count;
    }
    println!("{total}");
    Ok(if total.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a suite and prints what came of it. A suite that cannot be run is a failure like any other.
fn run(job: &Job, paths: &Paths, beside_others: bool) -> Outcome {
    let Job { target, suite } = job;
    let label = job.label();
    let progress = Progress::start(label.clone(), beside_others);
    let outcome = match suite.place {
        Place::Host { packages } => cargo::run(suite.name, packages, paths, &progress),
        Place::Guest(ref guest) => guest::run(suite.name, guest, target, paths, &progress),
    }
    .unwrap_or_else(|error| Outcome::failure(format!("cannot be run: {error:#}")));
    let elapsed = progress.finish();
    // In one piece: others print as well.
    let mut report = format!(
        "{label:<32} {:<40} {:>6.1} s\n",
        outcome.count.to_string(),
        elapsed.as_secs_f64()
    );
    for line in &outcome.remarks {
        report += &format!("    {line}\n");
    }
    print!("{report}");
    outcome
}

/// Prints once more what failed: its own lines may be far up, among those of others.
fn print_failures(done: &[Done<Outcome>]) {
    let failed = done.iter().filter(|done| !done.result.count.is_success());
    for (index, Done { label, result, .. }) in failed.enumerate() {
        if index == 0 {
            println!("what failed:");
        }
        println!("    {label}");
        for line in &result.remarks {
            println!("        {line}");
        }
    }
}
