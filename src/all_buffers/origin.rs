// SPDX-License-Identifier: GPL-2.0

//! The origin of a dma-buf, and the default name made of it.

use crate::{
    abstractions::task,
    decisions::default_name::default_name, //
};
use kernel::time::{
    BootTime,
    Instant, //
};

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

    /// Returns the default name of a dma-buf, padded with zeros.
    pub(super) fn default_name(&self) -> [u8; 16] {
        default_name(self.pid.unsigned_abs(), self.thread.padded())
    }

    /// Returns the time since the export, in milliseconds.
    pub(crate) fn age(&self) -> i64 {
        self.time.elapsed().as_millis()
    }
}
