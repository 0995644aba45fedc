// SPDX-License-Identifier: GPL-2.0

//! A limit for messages that userspace can trigger.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::bindings as c;

/// Returns whether another message may be logged now: at most 10 in 5 seconds, by all callers
/// together. Does not sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::rate_limit;
///
/// assert!((0..1000).any(|_| !rate_limit::may_log()));
/// ```
pub(crate) fn may_log() -> bool {
    // SAFETY: The function has no requirements: its state is initialised at build time, and it
    // takes a raw spin lock with a trylock.
    unsafe { c::log_ratelimit() }
}
