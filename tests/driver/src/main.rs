// SPDX-License-Identifier: GPL-2.0

//! Runs the test suites on the host and in virtual machines. The last line of output counts the
//! results.

mod cargo;
mod count;
mod guest;
mod ktap;
mod progress;
mod record;
mod schedule;
mod suites;

use std::collections::BTreeMap;
use std::path::{
    Path,
    PathBuf, //
};
use std::process::ExitCode;
use std::time::{
    Duration,
    SystemTime, //
};

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
use record::{
    Origin,
    Record, //
};
use schedule::{
    Job,
    JobResult, //
};
use suites::{
    Environment,
    Part,
    USUAL_MEMORY, //
};

/// Run the test suites; the last line of output is `N passed, N failed, N skipped`
#[derive(Parser)]
struct Arguments {
    /// Row of qemu/targets to test on; may be given several times
    #[arg(long, value_name = "NAME", default_value = "arm64")]
    target: Vec<String>,

    /// Run only the suites whose name contains TEXT
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Number of virtual machines that run at the same time; exclusive suites run alone
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,

    /// Run only the suites of this part
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,

    /// Leave out the suites that have not begun at this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,

    /// Record what ran on which kernel in FILE, and write the page of it beside FILE
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Name of the tested commit in the record
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    commit: String,

    /// Run only the suites that need no virtual machine
    #[arg(long)]
    host: bool,

    /// Print what FILE records of the targets, and the suites that it lacks; run none
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,

    /// Print the suites and what each one proves, and run none
    #[arg(long)]
    list: bool,
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Paths of the checkout.
struct Paths {
    project: PathBuf,
    /// Output of set-up for the target: its kernel tree and how to build with it.
    target: PathBuf,
    logs: PathBuf,
}

impl Paths {
    /// Finds the checkout and creates the folder of the logs.
    ///
    /// Fails if the checkout has moved or the folder cannot be created.
    fn find(target: &str) -> Result<Paths> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .context(
                "the project has moved since the test driver was built: build the driver again",
            )?;
        let logs = project.join("build/test-logs");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Paths {
            target: project.join("build/setup").join(target),
            project,
            logs,
        })
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.recorded {
        print_recorded(file, &arguments.target)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Suites on the host do not depend on the target: they run once.
    let first = arguments.target.first();
    let mut jobs = Vec::new();
    for target in &arguments.target {
        for suite in suites::all() {
            let selected =
                Some(target) == first || matches!(suite.environment, Environment::Guest(_));
            // Suites on the host are part of `make test` only.
            let part = match suite.environment {
                Environment::Host { .. } => Part::Test,
                Environment::Guest(_) => suite.part_on(target),
            };
            if selected
                && arguments.part.includes(part)
                && (!arguments.host || matches!(suite.environment, Environment::Host { .. }))
                && suite.name.contains(&arguments.filter)
                && suite.runs_on(target)
            {
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
    let end = arguments.until.map(Duration::from_secs);
    let memory = memory_for_guests()?;
    let done = schedule::run(&jobs, arguments.jobs, memory, |job| {
        match paths.get(job.target) {
            _ if is_over(end) => Outcome::left_out("the time is up"),
            _ if job.memory() > memory => Outcome::left_out("the host has too little memory"),
            Some(paths) => run(job, paths, arguments.jobs > 1),
            None => Outcome::default(),
        }
    });
    schedule::print_times(&done, start.elapsed());
    print_failures(&done);
    if let Some(file) = &arguments.record {
        record(file, arguments.commit.clone(), &jobs, &done, &paths)?;
    }
    if let Some(paths) = paths.values().next() {
        println!("complete output: {}", paths.logs.display());
    }
    let mut total = Count::default();
    for done in &done {
        total += done.result.count;
    }
    println!("{total}");
    // A run of which everything was left out has not failed.
    let all_succeeded = !done.is_empty() && done.iter().all(|done| done.result.is_success());
    let has_failed = done.iter().any(|done| done.result.has_failed());
    Ok(if !has_failed && (total.is_success() || all_succeeded) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Records the suites that ran in virtual machines.
fn record(
    file: &Path,
    commit: String,
    jobs: &[Job],
    done: &[JobResult<Outcome>],
    paths: &BTreeMap<&str, Paths>,
) -> Result<()> {
    let origin = Origin::now(commit)?;
    let mut record = Record::read(file)?;
    for Job { target, suite } in jobs {
        let label = Job { target, suite }.label();
        let result = done
            .iter()
            .find(|done| done.label == label && done.result.left_out.is_none());
        let (Some(done), Some(paths)) = (result, paths.get(target)) else {
            continue;
        };
        if matches!(suite.environment, Environment::Guest(_)) {
            let run = origin.run(&paths.target, done.result.count, done.elapsed)?;
            record.add(target, suite.name, run);
        }
    }
    record.keep(|target, name| {
        suites::all().any(|suite| suite.name == name && suite.runs_on(target))
    });
    record.write(file)
}

/// Prints what is recorded of the targets, and which suites lack a run that a release needs.
fn print_recorded(file: &Path, targets: &[String]) -> Result<()> {
    let mut needed = Vec::new();
    for target in targets {
        for suite in suites::all().filter(|suite| suite.is_released_on(target)) {
            needed.push((target.as_str(), suite.name));
        }
    }
    for line in Record::read(file)?.lines(targets, &needed) {
        println!("{line}");
    }
    Ok(())
}

/// Returns the memory of this machine that virtual machines may use, in MiB.
fn memory_for_guests() -> Result<u64> {
    /// What is left to everything else.
    const HELD_BACK_MIB: u64 = 1024;
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("no MemTotal in /proc/meminfo")?;
    let mib = (kib.parse::<u64>()? / 1024).saturating_sub(HELD_BACK_MIB);
    // On a small host, machines without an own size run one by one.
    Ok(mib.max(USUAL_MEMORY))
}

/// Returns whether `end`, which is the time since 1970, has come.
fn is_over(end: Option<Duration>) -> bool {
    end.is_some_and(|end| SystemTime::now() >= SystemTime::UNIX_EPOCH + end)
}

/// Runs a suite and prints its outcome. A suite that cannot run has failed.
fn run(job: &Job, paths: &Paths, concurrent: bool) -> Outcome {
    let Job { target, suite } = job;
    let label = job.label();
    let progress = Progress::start(label.clone(), concurrent);
    let outcome = match suite.environment {
        Environment::Host { packages } => cargo::run(suite.name, packages, paths, &progress),
        Environment::Guest(ref guest) => guest::run(suite.name, guest, target, paths, &progress),
    }
    .unwrap_or_else(|error| Outcome::failure(format!("suite cannot run: {error:#}")));
    let elapsed = progress.finish();
    // A single call, because other threads print as well.
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

/// Prints the failed suites once more, because their first report may be far up, and those of which
/// nothing ran.
fn print_failures(done: &[JobResult<Outcome>]) {
    for JobResult { label, result, .. } in done {
        if let Some(reason) = result.left_out {
            println!("left out, {reason}: {label}");
        } else if !result.is_success() && !result.has_failed() {
            println!("each test was skipped: {label}");
        }
    }
    let failed = done.iter().filter(|done| done.result.has_failed());
    for (index, JobResult { label, result, .. }) in failed.enumerate() {
        if index == 0 {
            println!("failed suites:");
        }
        println!("    {label}");
        for line in &result.remarks {
            println!("        {line}");
        }
    }
}
