// SPDX-License-Identifier: GPL-2.0

//! Several processes make random calls on everything that a user can reach: heaps, buffers,
//! mappings, descriptors and the module's files, root and an ordinary user at once.
//!
//! A call is made from a generator alone, never from what came of the calls before. So a seed
//! stands for the calls of each process, and `--seed` makes them again, in the same order; only
//! which process is how far when is up to the scheduler.

mod allocation;
mod arena;
mod buffers;
mod call;
mod children;
mod contents;
mod descriptors;
mod file_calls;
mod heaps;
mod held;
mod mappings;
mod nodes;
mod outside;
mod places;
mod process;
mod random;
mod shared;
mod supervisor;
mod system;
mod targets;
mod verdict;
mod worker;

use anyhow::{
    ensure,
    Result, //
};
use call::Call;
use clap::Parser;
use guest_support::ktap::{
    diagnose,
    Options,
    Tests, //
};
use random::Random;
use std::process::ExitCode;
use std::time::{
    Duration,
    SystemTime,
    UNIX_EPOCH, //
};
use supervisor::Plan;

/// Make random calls on heaps, buffers and debug nodes, and report in KTAP
#[derive(Parser)]
struct Arguments {
    /// Makes the calls of an earlier run again; otherwise the clock chooses
    #[arg(long)]
    seed: Option<u64>,

    /// How long
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// How many at once; every second one gives up its privileges
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,

    /// Runs one of them alone
    #[arg(long, value_name = "PROCESS")]
    alone: Option<u16>,

    /// As whom
    #[arg(long, value_name = "UID", default_value = "65534")]
    user: u32,

    /// How long a call may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    hang: u64,

    /// Prints the first calls of process --alone, or 0, and makes none
    #[arg(long, value_name = "COUNT")]
    show: Option<u64>,

    #[command(flatten)]
    options: Options,
}

/// How much longer than its calls the test may take.
const AROUND: Duration = Duration::from_secs(60);

fn first_calls(seed: u64, process: u64) -> impl Iterator<Item = Call> {
    let mut random = Random::new(seed, process);
    std::iter::repeat_with(move || Call::generate(&mut random))
}

/// The same seed makes the same calls.
fn replay(seed: u64, processes: u64) -> Result<()> {
    for process in 0..processes {
        let pairs = first_calls(seed, process).zip(first_calls(seed, process));
        for (number, (first, second)) in pairs.take(10_000).enumerate() {
            ensure!(
                first == second,
                "process {process}, call {number}: {first:?} and {second:?}"
            );
        }
    }
    Ok(())
}

fn calls(plan: &Plan) -> Result<()> {
    verdict::load()?;
    let memory = verdict::accounted()?;
    let before = verdict::Figures::now()?;
    supervisor::run(plan)?;
    verdict::nothing_is_left(&before, memory)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = arguments.seed.unwrap_or(clock.as_nanos() as u64);
    if let Some(count) = arguments.show {
        let process = arguments.alone.unwrap_or(0).into();
        for call in first_calls(seed, process).take(count as usize) {
            println!("{call:?}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan {
        seed,
        duration: Duration::from_secs(arguments.seconds),
        processes: arguments.processes.into(),
        alone: arguments.alone.map(usize::from),
        uid: arguments.user,
        hang: Duration::from_secs(arguments.hang),
    };
    diagnose(&format!("fuzz --seed {seed} makes these calls again"));
    let mut tests = Tests::default();
    let processes = arguments.processes.into();
    tests.add("fuzz/replay", move || replay(seed, processes));
    tests.add_within(plan.duration + AROUND, "fuzz/calls", move || calls(&plan));
    Ok(tests.run(&arguments.options))
}
