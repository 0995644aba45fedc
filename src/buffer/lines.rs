// SPDX-License-Identifier: GPL-2.0

//! What the CPU's caches hold of a buffer's memory.
//!
//! # Locks
//!
//! Mappings of processes come and go without the lock of the importers: most buffers have no
//! importer when they are mapped. [`CacheState::Clean`] is entered and left only with that lock
//! held. So its owner can invalidate lines before anybody else finds a state in which that is done.

use crate::decisions::cache_state::{
    CacheAction,
    CacheEvent,
    CacheState, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

/// The [`CacheState`] of a buffer.
pub(super) struct Lines(Atomic<u32>);

impl Lines {
    /// Creates the state of memory of which nothing is known.
    #[inline]
    pub(super) fn untracked() -> Self {
        Self(Atomic::new(CacheState::Untracked.to_bits()))
    }

    /// Creates the state of new memory, whose zeroes may be in the caches only.
    #[inline]
    pub(super) fn of_new_memory() -> Self {
        Self(Atomic::new(CacheState::Written.to_bits()))
    }

    /// Changes the state from that with the number `old`. Returns false if it is another one.
    ///
    /// Full ordering: what the CPU wrote before a view ended is written back by whoever finds that
    /// it has ended, and lines are invalidated before a view is found.
    #[inline(always)]
    fn change(&self, old: u32, new: CacheState) -> bool {
        old == new.to_bits() || self.0.cmpxchg(old, new.to_bits(), Full).is_ok()
    }

    /// Returns whether the CPU may have a mapping.
    #[inline]
    pub(super) fn may_have_mapping(&self) -> bool {
        CacheState::may_have_mapping(self.0.load(Acquire))
    }

    /// Returns whether the state is one that is entered and left with the lock held only.
    #[inline]
    pub(super) fn is_locked(&self) -> bool {
        CacheState::from_bits(self.0.load(Acquire)).is_locked()
    }

    /// Counts `event`. If it requires something that must be done first, calls `before` with that.
    /// Returns what it requires.
    ///
    /// The lock of the importers must be held. Fails as `before` does, and changes nothing then.
    #[inline(always)]
    pub(super) fn event(
        &self,
        event: CacheEvent,
        before: impl Fn(CacheAction) -> Result,
    ) -> Result<CacheAction> {
        loop {
            let old = self.0.load(Acquire);
            let (new, action) = CacheState::from_bits(old).after(event);
            if matches!(action, CacheAction::Invalidate | CacheAction::Flush) {
                before(action)?;
            }
            if self.change(old, new) {
                return Ok(action);
            }
        }
    }

    /// Counts `event`, if it can be counted without the lock: nothing must be done first then.
    /// Returns whether it was. Does not sleep.
    #[inline(always)]
    pub(super) fn unlocked_event(&self, event: CacheEvent) -> bool {
        loop {
            let old = self.0.load(Acquire);
            let state = CacheState::from_bits(old);
            if state.is_locked() {
                return false;
            }
            if self.change(old, state.after(event).0) {
                return true;
            }
        }
    }

    /// The map that led to [`CacheState::Clean`] has failed. The lock of the importers must be
    /// held.
    pub(super) fn not_cleaned(&self) {
        self.change(CacheState::Clean.to_bits(), CacheState::Written);
    }
}
