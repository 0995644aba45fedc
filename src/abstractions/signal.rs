// SPDX-License-Identifier: GPL-2.0

//! Signals of the calling task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::bindings as c;
use kernel::prelude::*;

/// Returns whether a fatal signal is pending for the calling task, so that a long operation may
/// stop early.
///
/// # Examples
///
/// ```
/// assert!(!crate::abstractions::signal::fatal_pending());
/// ```
#[inline]
pub(crate) fn fatal_pending() -> bool {
    // SAFETY: The function reads the state of the current task and has no requirements.
    unsafe { c::fatal_signal_pending() }
}

/// Fails with `EINTR` if a fatal signal is pending for the calling task.
///
/// # Examples
///
/// ```
/// crate::abstractions::signal::check_fatal()?;
/// ```
#[inline]
pub(crate) fn check_fatal() -> Result {
    match fatal_pending() {
        true => Err(EINTR),
        false => Ok(()),
    }
}
