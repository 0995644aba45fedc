// SPDX-License-Identifier: GPL-2.0

//! Tells that a suite is still running, for how long, and how far it is.

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

/// On a terminal one line is written again and again; elsewhere a new line now and then is enough.
const ON_TERMINAL: Duration = Duration::from_secs(1);
const ELSEWHERE: Duration = Duration::from_secs(15);

pub struct Progress {
    start: Instant,
    shared: Arc<Shared>,
    ticker: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    tests: AtomicUsize,
}

impl Progress {
    /// Begins to tell about `name`; `beside_others` if they tell of themselves at the same time.
    pub fn start(name: String, beside_others: bool) -> Progress {
        let (start, shared) = (Instant::now(), Arc::new(Shared::default()));
        let ticking = Arc::clone(&shared);
        let ticker = thread::spawn(move || tick(&name, beside_others, start, &ticking));
        Progress {
            start,
            shared,
            ticker,
        }
    }

    /// One more test has ended.
    pub fn count_test(&self) {
        self.shared.tests.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops telling. How long it took.
    pub fn finish(self) -> Duration {
        self.shared.done.store(true, Ordering::Relaxed);
        self.ticker.thread().unpark();
        // A ticker that panicked has nothing more to say.
        let _ = self.ticker.join();
        self.start.elapsed()
    }
}

fn tick(name: &str, beside_others: bool, start: Instant, shared: &Shared) {
    // One line can only be about one suite.
    let terminal = std::io::stderr().is_terminal() && !beside_others;
    let pause = if terminal { ON_TERMINAL } else { ELSEWHERE };
    loop {
        let next = Instant::now() + pause;
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
