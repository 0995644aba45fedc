// SPDX-License-Identifier: GPL-2.0

//! Which suites run at the same time, and how long each took.

use std::sync::atomic::{
    AtomicUsize,
    Ordering, //
};
use std::sync::Mutex;
use std::thread;
use std::time::{
    Duration,
    Instant, //
};

use crate::suites::{
    Place,
    Suite, //
};

/// How many of the longest are listed.
const LONGEST: usize = 12;

/// A suite on a target.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub target: &'a str,
    pub suite: &'a Suite,
}

impl Job<'_> {
    /// What it is called where several targets are tested.
    pub fn label(&self) -> String {
        match self.suite.place {
            Place::Host { .. } => self.suite.name.to_owned(),
            Place::Guest(_) => format!("{}/{}", self.target, self.suite.name),
        }
    }

    fn is_alone(&self) -> bool {
        match &self.suite.place {
            // It builds with all CPUs.
            Place::Host { .. } => true,
            Place::Guest(guest) => guest.alone,
        }
    }
}

/// What came of a job.
pub struct Done<T> {
    pub label: String,
    pub result: T,
    pub took: Duration,
}

/// Runs all jobs, up to `at_once` at the same time; those that want to be alone one by one, before
/// the others.
pub fn run<T: Send>(jobs: &[Job], at_once: usize, run: impl Fn(&Job) -> T + Sync) -> Vec<Done<T>> {
    let (alone, others): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| job.is_alone());
    let timed = |job: &Job| {
        let start = Instant::now();
        Done {
            result: run(job),
            label: job.label(),
            took: start.elapsed(),
        }
    };
    let mut done: Vec<_> = alone.into_iter().map(timed).collect();
    let (next, finished) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                while let Some(job) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = timed(job);
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
            .unwrap_or_else(|error| error.into_inner()),
    );
    done
}

/// Prints where the time went.
pub fn print_times<T>(done: &[Done<T>], whole: Duration) {
    let mut longest: Vec<_> = done.iter().collect();
    longest.sort_by_key(|done| std::cmp::Reverse(done.took));
    let sum: Duration = done.iter().map(|done| done.took).sum();
    println!(
        "{} suites in {:.0} s, {:.0} s if one had run after the other; the longest:",
        done.len(),
        whole.as_secs_f64(),
        sum.as_secs_f64()
    );
    for done in longest.into_iter().take(LONGEST) {
        println!("    {:>6.1} s  {}", done.took.as_secs_f64(), done.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::{
        Guest,
        GUEST, //
    };

    fn suite(name: &'static str, alone: bool) -> Suite {
        Suite {
            name,
            promise: "",
            place: Place::Guest(Guest { alone, ..GUEST }),
        }
    }

    #[test]
    fn each_runs_once_and_those_that_want_it_run_alone() {
        let suites = [
            suite("a", false),
            suite("b", true),
            suite("c", false),
            suite("d", true),
        ];
        let jobs: Vec<_> = suites
            .iter()
            .map(|suite| Job { target: "t", suite })
            .collect();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = run(&jobs, 2, |job| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(!job.is_alone() || now == 1);
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            running.fetch_sub(1, Ordering::SeqCst);
            job.suite.name
        });
        let mut names: Vec<_> = done.iter().map(|done| done.result).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(most.into_inner(), 2);
        assert_eq!(done[0].label, "t/b");
    }
}
