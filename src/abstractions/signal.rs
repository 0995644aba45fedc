// SPDX-License-Identifier: GPL-2.0

//! Signals of the calling task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::bindings as c;

/// Whether a signal that will end the calling task is waiting: what it asked for is not needed any
/// more.
///
/// # Examples
///
/// ```
/// assert!(!crate::abstractions::signal::fatal_pending());
/// ```
#[inline]
pub(crate) fn fatal_pending() -> bool {
    // SAFETY: Looks at the current task; has no requirements.
    unsafe { c::fatal_signal_pending() }
}
