// SPDX-License-Identifier: GPL-2.0

//! Pauses of deferred work.
//!
//! Work that is queued by everybody runs earlier than a pause permits. It asks here how long that
//! is, and queues itself again.

use kernel::time::{
    Instant,
    Monotonic, //
};

/// A pause, which may have begun.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pause::Pause;
///
/// let mut pause = Pause::default();
/// assert!(pause.left_ms().is_none());
/// assert_eq!(pause.begin(60_000), 60_000);
/// assert!(pause.left_ms().is_some_and(|left| left <= 60_000));
/// pause.end();
/// assert!(pause.left_ms().is_none());
/// ```
#[derive(Default)]
pub(crate) struct Pause(Option<(Instant<Monotonic>, u32)>);

impl Pause {
    /// Begins a pause of `length_ms` milliseconds, and returns that.
    pub(crate) fn begin(&mut self, length_ms: u32) -> u32 {
        self.0 = Some((Instant::now(), length_ms));
        length_ms
    }

    /// Returns how many milliseconds are left, if a pause has begun and has not ended.
    pub(crate) fn left_ms(&mut self) -> Option<u32> {
        let (since, length_ms) = self.0?;
        let left = i64::from(length_ms).saturating_sub(since.elapsed().as_millis());
        self.0 = self.0.filter(|_| left > 0);
        self.0.map(|_| left as u32)
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}
