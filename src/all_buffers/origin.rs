// SPDX-License-Identifier: GPL-2.0

//! The origin of a dma-buf, and the default name made of it.

use crate::{
    abstractions::task,
    decisions::{
        digits::Digits,
        text::Text, //
    }, //
};
use kernel::time::{
    BootTime,
    Instant, //
};

/// The capacity for a default name, in bytes: 16 and a terminating zero.
const DEFAULT_NAME_SIZE: usize = 16 + 1;

/// Who exported a dma-buf, and when.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The process ID.
    pub(crate) pid: i32,
    /// The name of the thread.
    pub(crate) thread: task::Comm,
    time: Instant<BootTime>,
}

impl Origin {
    /// Returns the calling thread and the current time. Does not sleep.
    pub(super) fn now() -> Self {
        Self {
            pid: task::current_tgid(),
            thread: task::Comm::current(),
            time: Instant::now(),
        }
    }

    /// Returns `PID-THREADNAME`, truncated to 16 bytes.
    pub(super) fn default_name(&self) -> Text<DEFAULT_NAME_SIZE> {
        let mut name = Text::new();
        name.push_bytes(Digits::decimal(self.pid.unsigned_abs().into()).as_bytes());
        name.push_bytes(b"-");
        name.push_bytes(self.thread.as_bytes());
        name
    }

    /// Returns the time since the export, in milliseconds.
    pub(crate) fn age(&self) -> i64 {
        self.time.elapsed().as_millis()
    }
}
