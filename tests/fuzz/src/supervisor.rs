// SPDX-License-Identifier: GPL-2.0

//! Starts the processes, detects hangs, and reports statistics.

use crate::call::kinds;
use crate::process::{
    Process,
    Sockets, //
};
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
use std::rc::Rc;
use std::time::{
    Duration,
    Instant, //
};

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub duration: Duration,
    pub processes: usize,
    /// The only process to run, if any.
    pub alone: Option<usize>,
    pub uid: u32,
    /// Timeout of a call.
    pub hang: Duration,
}

/// Interval of progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// Interval of checks of the processes.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// All processes together may use 1/4 of the memory.
const MEMORY_DIVISOR: usize = 4;

struct Workers {
    plan: Plan,
    shared: Rc<Shared>,
    start: Instant,
    running: Vec<(usize, Child)>,
}

/// Runs the plan. An error describes the detected defect.
pub fn run(plan: &Plan) -> Result<()> {
    Targets::make_world_accessible()?;
    let targets = Rc::new(Targets::find()?);
    let quota = memory::total()? / MEMORY_DIVISOR / plan.processes.max(1);
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
    let sockets = Rc::new(Sockets::new(plan.processes)?);
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
                Rc::clone(&sockets),
            )?;
            let user = (number % 2 == 1).then_some(plan.uid);
            worker::run(&mut process, &shared, plan.seed, workers.start, user)
        })?;
        shared.set_pid(number, child.pid().as_raw());
        workers.running.push((number, child));
    }
    let result = workers.watch();
    shared.end();
    workers.print_statistics();
    drop(workers);
    result
}

impl Workers {
    fn calls(&self) -> u64 {
        let all = self.shared.processes();
        all.map(|process| self.shared.calls(process)).sum()
    }

    /// Waits for all processes.
    fn watch(&mut self) -> Result<()> {
        let mut next_report = PROGRESS_INTERVAL;
        while !self.running.is_empty() {
            let elapsed = self.start.elapsed();
            if elapsed >= self.plan.duration {
                self.shared.end();
            }
            // The counters of a reloaded module start at zero. The module stays loaded in the
            // second half, so that accounting errors remain visible at the end.
            if elapsed >= self.plan.duration / 2 && !self.shared.is_module_pinned() {
                self.shared.pin_module();
                verdict::load()?;
                Targets::make_world_accessible()?;
            }
            if elapsed >= next_report {
                next_report += PROGRESS_INTERVAL;
                diagnose(&format!("{} s: {} calls", elapsed.as_secs(), self.calls()));
            }
            self.poll_children()?;
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn poll_children(&mut self) -> Result<()> {
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
                    "process {number} was killed by {signal} in {}",
                    self.current_call(number)
                ),
            }
            let pid = child.pid().as_raw();
            if let Some(start) = self.shared.call_start(number) {
                let duration = now.saturating_sub(Duration::from_millis(start));
                if duration > self.plan.hang {
                    report_hung_process(pid);
                    let _ = child.signal(Signal::SIGKILL);
                    bail!(
                        "process {number} hangs for {:.1} s in {}",
                        duration.as_secs_f64(),
                        self.current_call(number)
                    );
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// Describes the current call of a process.
    fn current_call(&self, number: usize) -> String {
        let (seed, calls) = (self.plan.seed, self.shared.calls(number));
        let call = worker::nth(seed, number, calls);
        format!("call {calls} of seed {seed}: {call:?}")
    }

    /// Prints the number of calls by kind and outcome.
    fn print_statistics(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        diagnose(&format!(
            "{} calls, {:.0} per second",
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

/// Prints the kernel's information about a hung process.
fn report_hung_process(pid: i32) {
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
