// SPDX-License-Identifier: GPL-2.0

//! Runs suites concurrently and measures how long each takes.

use std::sync::{
    Condvar,
    Mutex,
    PoisonError, //
};
use std::thread;
use std::time::{
    Duration,
    Instant, //
};

use crate::suites::{
    Environment,
    Suite, //
};

/// The number of suites in the list of the longest ones.
const LONGEST_LISTED: usize = 12;

/// One suite to run on one target.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub target: &'a str,
    pub suite: &'a Suite,
}

impl Job<'_> {
    /// Returns the name of the job, unique among all targets.
    pub fn label(&self) -> String {
        match self.suite.environment {
            Environment::Host { .. } => self.suite.name.to_owned(),
            Environment::Guest(_) => format!("{}/{}", self.target, self.suite.name),
        }
    }

    fn is_exclusive(&self) -> bool {
        match &self.suite.environment {
            // Cargo builds on all CPUs.
            Environment::Host { .. } => true,
            Environment::Guest(guest) => guest.exclusive,
        }
    }

    /// Returns the memory of the job's machine in MiB.
    pub fn memory(&self) -> u64 {
        match &self.suite.environment {
            Environment::Host { .. } => 0,
            Environment::Guest(guest) => guest.memory(),
        }
    }
}

/// The jobs that wait, and the memory in MiB that no job uses.
struct Queue<'a> {
    waiting: Vec<&'a Job<'a>>,
    unused: u64,
}

impl<'a> Queue<'a> {
    /// Takes the first job for whose machine there is enough memory.
    fn take(&mut self, total: u64) -> Option<&'a Job<'a>> {
        let fits = |job: &&Job| memory_of(job, total) <= self.unused;
        let job = self.waiting.remove(self.waiting.iter().position(fits)?);
        self.unused -= memory_of(job, total);
        Some(job)
    }
}

/// Returns the memory in MiB that a job takes of `total`. A job that needs more has all of it.
fn memory_of(job: &Job, total: u64) -> u64 {
    job.memory().min(total)
}

/// The result of a job.
pub struct JobResult<T> {
    pub label: String,
    pub result: T,
    pub elapsed: Duration,
}

/// Runs all jobs with `run` and returns their results in the order of completion. Exclusive jobs
/// run first, one by one; then up to `concurrency` jobs run at the same time, as long as their
/// machines have no more than `memory` MiB together.
pub fn run<T: Send>(
    jobs: &[Job],
    concurrency: usize,
    memory: u64,
    run: impl Fn(&Job) -> T + Sync,
) -> Vec<JobResult<T>> {
    let (exclusive, concurrent): (Vec<&Job>, Vec<&Job>) =
        jobs.iter().partition(|job| job.is_exclusive());
    let timed = |job: &Job| {
        let start = Instant::now();
        JobResult {
            result: run(job),
            label: job.label(),
            elapsed: start.elapsed(),
        }
    };
    let mut done: Vec<_> = exclusive.into_iter().map(timed).collect();
    let queue = Mutex::new(Queue {
        waiting: concurrent,
        unused: memory,
    });
    let (freed, finished) = (Condvar::new(), Mutex::new(Vec::new()));
    // Returns the next job once there is memory for one.
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match queue.take(memory) {
                None if !queue.waiting.is_empty() => {
                    queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                next => return next,
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..concurrency.max(1) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let result = timed(job);
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.unused += memory_of(job, memory);
                    freed.notify_all();
                    drop(queue);
                    if let Ok(mut finished) = finished.lock() {
                        finished.push(result);
                    }
                }
            });
        }
    });
    done.extend(
        finished
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    );
    done
}

/// Prints the total time and the longest jobs. `total` is the time that passed for all of them.
pub fn print_times<T>(done: &[JobResult<T>], total: Duration) {
    let mut longest: Vec<_> = done.iter().collect();
    longest.sort_by_key(|done| std::cmp::Reverse(done.elapsed));
    let sum: Duration = done.iter().map(|done| done.elapsed).sum();
    println!(
        "{} suites in {:.0} s, {:.0} s one after another; the longest:",
        done.len(),
        total.as_secs_f64(),
        sum.as_secs_f64()
    );
    for done in longest.into_iter().take(LONGEST_LISTED) {
        println!("    {:>6.1} s  {}", done.elapsed.as_secs_f64(), done.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::{
        Guest,
        GUEST, //
    };
    use std::sync::atomic::{
        AtomicU64,
        AtomicUsize,
        Ordering, //
    };

    fn suite(name: &'static str, exclusive: bool) -> Suite {
        Suite {
            name,
            promise: "",
            environment: Environment::Guest(Guest { exclusive, ..GUEST }),
        }
    }

    fn jobs_of(suites: &[Suite]) -> Vec<Job<'_>> {
        let job = |suite| Job { target: "t", suite };
        suites.iter().map(job).collect()
    }

    #[test]
    fn each_job_runs_once_and_exclusive_jobs_run_alone() {
        let suites = [
            suite("a", false),
            suite("b", true),
            suite("c", false),
            suite("d", true),
        ];
        let jobs = jobs_of(&suites);
        let (running, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = run(&jobs, 2, 4096, |job| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(!job.is_exclusive() || now == 1);
            peak.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            running.fetch_sub(1, Ordering::SeqCst);
            job.suite.name
        });
        let mut names: Vec<_> = done.iter().map(|done| done.result).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(peak.into_inner(), 2);
        assert_eq!(done[0].label, "t/b");
    }

    #[test]
    fn machines_share_the_memory() {
        let sized = |name, options| Suite {
            name,
            promise: "",
            environment: Environment::Guest(Guest { options, ..GUEST }),
        };
        let suites = [
            sized("a", &["--mem", "3G"]),
            sized("b", &["--mem", "3G"]),
            sized("c", &["--mem", "1G"]),
            // More than there is: `run` leaves it out.
            sized("d", &["--mem", "9G"]),
        ];
        let jobs = jobs_of(&suites);
        let (used, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = run(&jobs, 4, 4096, |job| {
            let mib = memory_of(job, 4096);
            let now = used.fetch_add(mib, Ordering::SeqCst) + mib;
            peak.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            used.fetch_sub(mib, Ordering::SeqCst);
        });
        assert_eq!(done.len(), 4);
        assert_eq!(peak.into_inner(), 4096);
    }
}
