// SPDX-License-Identifier: GPL-2.0

//! Records that could not be allocated, until they are made up for.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// Counts missing records, and those that were made up for.
///
/// Numbers, not a flag: while one task inserts the missing records, others must not take the
/// records for complete, and a record that goes missing meanwhile may not be found by that task.
pub(super) struct Missing {
    counted: Atomic<u32>,
    /// The value of `counted` before the last complete iteration over all dma-bufs.
    repaired: Atomic<u32>,
}

impl Missing {
    /// Creates counters for complete records.
    pub(super) const fn new() -> Self {
        Self {
            counted: Atomic::new(0),
            repaired: Atomic::new(0),
        }
    }

    /// Counts a record that could not be allocated. Does not sleep.
    pub(super) fn count(&self) {
        self.counted.fetch_add(1, Full);
    }

    /// Returns whether records are missing. Does not sleep.
    pub(super) fn any(&self) -> bool {
        self.counted.load(Relaxed) != self.repaired.load(Relaxed)
    }

    /// Calls `insert_all`, which inserts the records of all dma-bufs that exist, if records are
    /// missing. Changes nothing if it fails.
    pub(super) fn repair(&self, insert_all: impl FnOnce() -> Result) {
        if !self.any() {
            return;
        }
        // Read first: a record that goes missing during the iteration may not be found by it. A
        // full barrier, as the iteration must find the dma-bufs that are counted here.
        let counted = self.counted.fetch_add(0, Full);
        if insert_all().is_ok() {
            // A task that has begun earlier may write a smaller number, and the next reader repairs
            // once more.
            self.repaired.store(counted, Relaxed);
        }
    }
}

#[cfg(CONFIG_KUNIT)]
#[kunit_tests(rk_dma_heap_missing_records)]
mod tests {
    use super::*;

    #[test]
    fn missing_until_repaired() -> Result {
        let missing = Missing::new();
        missing.repair(|| Err(EIO));
        assert!(!missing.any());
        missing.count();
        missing.repair(|| Err(ENOMEM));
        assert!(missing.any());
        missing.repair(|| {
            // Another reader looks while this one inserts.
            assert!(missing.any());
            Ok(())
        });
        assert!(!missing.any());
        Ok(())
    }

    #[test]
    fn missing_during_the_repair() -> Result {
        let missing = Missing::new();
        missing.count();
        missing.repair(|| {
            missing.count();
            Ok(())
        });
        assert!(missing.any());
        // Two readers at a time.
        missing.repair(|| {
            missing.repair(|| Ok(()));
            assert!(!missing.any());
            Ok(())
        });
        assert!(!missing.any());
        Ok(())
    }
}
