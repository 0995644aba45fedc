// SPDX-License-Identifier: GPL-2.0

//! Starts the processes, watches that none hangs, and says what they have done.

use crate::call::kinds;
use crate::process::Process;
use crate::shared::Shared;
use crate::targets::Targets;
use crate::verdict;
use crate::worker;
use anyhow::{
    bail,
    Context,
    Result, //
};
use guest_support::ktap::diagnose;
use guest_support::memory;
use guest_support::process::{
    Child,
    Verdict, //
};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::{
    Duration,
    Instant, //
};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub duration: Duration,
    pub processes: usize,
    /// One process alone, if any.
    pub alone: Option<usize>,
    pub uid: u32,
    /// How long a call may take.
    pub hang: Duration,
}

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(15);

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The share of memory that all processes may have in use.
const SHARE: usize = 4;

struct Workers {
    plan: Plan,
    shared: Rc<Shared>,
    start: Instant,
    running: Vec<(usize, Child)>,
}

/// Runs the plan. An error says what was found.
pub fn run(plan: &Plan) -> Result<()> {
    Targets::open_to_everybody()?;
    let targets = Rc::new(Targets::find()?);
    let quota = memory::total()? / SHARE / plan.processes.max(1);
    diagnose(&format!(
        "seed {}, {} s, {} processes, every second one as user {}, {} KiB each, {} heaps, {} nodes",
        plan.seed,
        plan.duration.as_secs(),
        plan.processes,
        plan.uid,
        quota / 1024,
        targets.heaps.len(),
        targets.nodes.len()
    ));
    let shared = Rc::new(Shared::new(plan.processes, kinds().len())?);
    let mut lines = (Vec::new(), Vec::new());
    for _ in 0..plan.processes {
        let (here, there) = UnixDatagram::pair()?;
        lines.0.push(here);
        lines.1.push(there);
    }
    let (lines, inbox) = (Rc::new(lines.0), Rc::new(lines.1));
    let mut workers = Workers {
        plan: plan.clone(),
        shared: Rc::clone(&shared),
        start: Instant::now(),
        running: Vec::new(),
    };
    for number in shared.processes() {
        if plan.alone.is_some_and(|alone| alone != number) {
            continue;
        }
        let child = Child::run(|| {
            let (targets, shared) = (Rc::clone(&targets), Rc::clone(&shared));
            let mut process = Process::new(
                number,
                quota,
                targets,
                Rc::clone(&shared),
                Rc::clone(&lines),
                Rc::clone(&inbox),
            )?;
            let user = (number % 2 == 1).then_some(plan.uid);
            worker::work(&mut process, &shared, plan.seed, workers.start, user)
        })?;
        shared.set_pid(number, child.pid().as_raw());
        workers.running.push((number, child));
    }
    let result = workers.watch();
    shared.end();
    workers.table();
    drop(workers);
    result
}

impl Workers {
    fn calls(&self) -> u64 {
        let all = self.shared.processes();
        all.map(|process| self.shared.calls(process)).sum()
    }

    /// Waits for the end.
    fn watch(&mut self) -> Result<()> {
        let mut told = PROGRESS;
        while !self.running.is_empty() {
            let elapsed = self.start.elapsed();
            if elapsed >= self.plan.duration {
                self.shared.end();
            }
            // A module that is loaded anew counts from zero: what the last one gets wrong has to
            // stay to be seen.
            if elapsed >= self.plan.duration / 2 && !self.shared.stays_loaded() {
                self.shared.stay_loaded();
                verdict::load()?;
                Targets::open_to_everybody()?;
            }
            if elapsed >= told {
                told += PROGRESS;
                diagnose(&format!("{} s: {} calls", elapsed.as_secs(), self.calls()));
            }
            self.look()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        let now = self.start.elapsed();
        let mut index = 0;
        while let Some((number, child)) = self.running.get_mut(index) {
            let number = *number;
            match child.wait(Duration::ZERO)? {
                None => {}
                Some(Verdict::Passed) => {
                    drop(self.running.remove(index));
                    continue;
                }
                Some(Verdict::Failed(text)) => bail!(text),
                Some(Verdict::Skipped(text)) => bail!("process {number} skipped: {text}"),
                Some(Verdict::Killed(signal)) => bail!(
                    "process {number} was ended by {signal} in {}",
                    self.present(number)
                ),
            }
            let pid = child.pid().as_raw();
            if let Some(since) = self.shared.since(number) {
                let taken = now.saturating_sub(Duration::from_millis(since));
                if taken > self.plan.hang {
                    tell_of_hanging(pid);
                    let _ = child.signal(Signal::SIGKILL);
                    bail!(
                        "process {number} hangs since {:.1} s in {}",
                        taken.as_secs_f64(),
                        self.present(number)
                    );
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// A process's present call.
    fn present(&self, number: usize) -> String {
        let (seed, calls) = (self.plan.seed, self.shared.calls(number));
        let call = worker::nth(seed, number, calls);
        format!("call {calls} of seed {seed}: {call:?}")
    }

    /// All calls by kind.
    fn table(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        diagnose(&format!(
            "{} calls, {:.0} a second",
            self.calls(),
            self.calls() as f64 / seconds
        ));
        diagnose(&format!(
            "{:<11} {:<27} {:>8} {:>8} {:>8}  errors",
            "", "kind", "done", "failed", "skipped"
        ));
        for (index, (group, kind)) in kinds().into_iter().enumerate() {
            let outcomes = self.shared.outcomes(index);
            let (done, skipped) = (outcomes.done, outcomes.skipped);
            let failed: u64 = outcomes.failed.iter().map(|(_, count)| count).sum();
            let errors: Vec<_> = outcomes
                .failed
                .iter()
                .map(|(errno, count)| format!("{errno:?} {count}"))
                .collect();
            diagnose(&format!(
                "{group:<11} {kind:<27} {done:>8} {failed:>8} {skipped:>8}  {}",
                errors.join(", ")
            ));
        }
    }
}

/// What the kernel says of a process that hangs.
fn tell_of_hanging(pid: i32) {
    for file in ["status", "wchan", "syscall", "stack"] {
        let path = format!("/proc/{pid}/{file}");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path}"))
            .unwrap_or_else(|error| format!("{error:#}"));
        let text = text
            .lines()
            .filter(|line| file != "status" || line.starts_with("State"))
            .collect::<Vec<_>>()
            .join("\n");
        diagnose(&format!("{path}: {text}"));
    }
}
