// SPDX-License-Identifier: GPL-2.0

//! The size of all live dma-bufs that are recorded, and its peak.
//!
//! The counters take no lock: records are inserted and removed on all CPUs at the same time, each
//! under the lock of its tree.

use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// The current total, in bytes.
static BYTES: Atomic<u64> = Atomic::new(0);

/// The largest value of [`BYTES`] since the last reset.
static PEAK: Atomic<u64> = Atomic::new(0);

/// Whether [`PEAK`] is wrong, because events were missed since the last reset.
static PEAK_IS_STALE: Atomic<bool> = Atomic::new(false);

/// The size of all live dma-bufs that are recorded.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    /// The current total, in bytes.
    pub(crate) bytes: u64,
    /// The largest total since the module was loaded or the peak was reset, in bytes.
    pub(crate) peak: u64,
    /// Whether `peak` is wrong, because exports or releases were missed.
    pub(crate) peak_is_stale: bool,
}

/// Returns the current totals.
pub(in super::super) fn current() -> Totals {
    let bytes = BYTES.load(Relaxed);
    Totals {
        bytes,
        // An export that is being counted may not have raised it yet.
        peak: PEAK.load(Relaxed).max(bytes),
        peak_is_stale: PEAK_IS_STALE.load(Relaxed),
    }
}

/// Counts a dma-buf of `bytes` bytes.
#[inline]
pub(super) fn add(bytes: usize) {
    let bytes = bytes as u64;
    // A full barrier: `reset_peak()` reads the total after it has lowered the peak, so one of both
    // sees what the other one wrote.
    raise_peak(BYTES.fetch_add(bytes, Full).wrapping_add(bytes));
}

/// Uncounts a dma-buf of `bytes` bytes, which was counted.
#[inline]
pub(super) fn subtract(bytes: usize) {
    BYTES.fetch_sub(bytes as u64, Relaxed);
}

/// Sets the peak to at least `bytes`.
#[inline]
fn raise_peak(bytes: u64) {
    let mut peak = PEAK.load(Relaxed);
    while peak < bytes {
        match PEAK.cmpxchg(peak, bytes, Relaxed) {
            Ok(_) => return,
            Err(now) => peak = now,
        }
    }
}

/// Sets the peak to the current total.
pub(in super::super) fn reset_peak() {
    PEAK_IS_STALE.store(false, Relaxed);
    PEAK.xchg(BYTES.load(Relaxed), Full);
    // What was counted in between may have raised the old peak.
    raise_peak(BYTES.load(Relaxed));
}

/// Remembers that exports or releases were missed.
pub(in super::super) fn set_peak_stale() {
    PEAK_IS_STALE.store(true, Relaxed);
}
