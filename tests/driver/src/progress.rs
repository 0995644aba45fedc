// SPDX-License-Identifier: GPL-2.0

//! Progress of running suites, on standard error.

use std::io::{
    IsTerminal,
    Write, //
};
use std::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};
use std::sync::Arc;
use std::thread::{
    self,
    JoinHandle, //
};
use std::time::{
    Duration,
    Instant, //
};

/// The interval at which a terminal's line is rewritten.
const TERMINAL_INTERVAL: Duration = Duration::from_secs(1);

/// The interval between lines if the output is no terminal, or several suites share it.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// Prints the elapsed time and the number of finished tests of one suite, until
/// [`finish`](Progress::finish).
#[must_use]
pub struct Progress {
    start: Instant,
    shared: Arc<Shared>,
    ticker: JoinHandle<()>,
}

/// State shared with the thread that prints.
#[derive(Default)]
struct Shared {
    done: AtomicBool,
    tests: AtomicUsize,
}

impl Progress {
    /// Starts to print the progress of `name`. `concurrent` says that other suites may print theirs
    /// at the same time.
    pub fn start(name: String, concurrent: bool) -> Progress {
        let (start, shared) = (Instant::now(), Arc::new(Shared::default()));
        let for_ticker = Arc::clone(&shared);
        let ticker = thread::spawn(move || tick(&name, concurrent, start, &for_ticker));
        Progress {
            start,
            shared,
            ticker,
        }
    }

    /// Counts one finished test.
    pub fn count_test(&self) {
        self.shared.tests.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops printing and returns the elapsed time.
    pub fn finish(self) -> Duration {
        self.shared.done.store(true, Ordering::Relaxed);
        self.ticker.thread().unpark();
        // A panic of the ticker only loses progress lines.
        let _ = self.ticker.join();
        self.start.elapsed()
    }
}

/// Prints progress lines until `shared.done` is set.
fn tick(name: &str, concurrent: bool, start: Instant, shared: &Shared) {
    // A single line can only show one suite.
    let terminal = std::io::stderr().is_terminal() && !concurrent;
    let interval = if terminal {
        TERMINAL_INTERVAL
    } else {
        LINE_INTERVAL
    };
    loop {
        let next = Instant::now() + interval;
        while Instant::now() < next {
            if shared.done.load(Ordering::Relaxed) {
                if terminal {
                    eprint!("\r\x1b[K");
                }
                return;
            }
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
        let (seconds, tests) = (
            start.elapsed().as_secs(),
            shared.tests.load(Ordering::Relaxed),
        );
        let line = format!("{name:<32} {seconds} s, {tests} tests done");
        if terminal {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
        let _ = std::io::stderr().flush();
    }
}
