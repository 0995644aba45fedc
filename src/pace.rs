// SPDX-License-Identifier: GPL-2.0

//! How long threads wait that take memory in advance: the longer, the more others need it.

use crate::{
    abstractions::pause::Pause,
    decisions::reserve::Backoff, //
};

/// The first delay after an attempt in vain, in milliseconds.
pub(crate) const RETRY_MS: u32 = 100;

/// The first delay after others needed the memory, in milliseconds.
const REST_MS: u32 = 1000;

/// The delays of a thread, of which one may have begun.
#[derive(Default)]
pub(crate) struct Pace {
    /// The delay after attempts in vain.
    retry: Backoff,
    /// The delay after others needed the memory.
    rest: Backoff,
    /// The delay that has begun.
    pause: Pause,
}

impl Pace {
    /// Begins a delay of `delay_ms` milliseconds, and returns that.
    pub(crate) fn wait(&mut self, delay_ms: u32) -> u32 {
        self.pause.begin(delay_ms)
    }

    /// Begins a delay after an attempt in vain. Returns it, in milliseconds.
    pub(crate) fn failed(&mut self) -> u32 {
        let delay = self.retry.next(RETRY_MS);
        self.wait(delay)
    }

    /// Begins a delay after others needed the memory. Returns it, in milliseconds.
    pub(crate) fn disturbed(&mut self) -> u32 {
        let delay = self.rest.next(REST_MS);
        self.wait(delay)
    }

    /// Returns how many milliseconds of a delay are left, if one has begun and has not ended.
    pub(crate) fn left_ms(&mut self) -> Option<u32> {
        self.pause.left_ms()
    }

    /// Begins anew with delays after attempts in vain.
    pub(crate) fn succeeded(&mut self) {
        self.retry.reset();
    }

    /// Begins anew with all delays, and ends one that has begun.
    pub(crate) fn reset(&mut self) {
        self.retry.reset();
        self.rest.reset();
        self.pause.end();
    }
}
