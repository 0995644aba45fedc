// SPDX-License-Identifier: GPL-2.0

//! Signals that end a command which runs until it is interrupted.

use anyhow::{
    Context,
    Result, //
};
use signal_hook::consts::{
    SIGHUP,
    SIGINT,
    SIGTERM, //
};
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::sync::Arc;
use std::time::{
    Duration,
    Instant, //
};

/// The longest time until a signal is noticed.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether the user, or the system, has asked the command to end.
#[derive(Clone, Debug)]
pub struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Handles the signals from now on. They do not end the process any more.
    pub fn handle() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, flag.clone()).context("cannot handle signals")?;
        }
        Ok(Interruption(flag))
    }

    /// Returns whether a signal has arrived.
    pub fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps for `interval`, or until a signal arrives.
    pub fn sleep(&self, interval: Duration) {
        let until = Instant::now() + interval;
        while !self.has_come() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(POLL_INTERVAL));
        }
    }
}
