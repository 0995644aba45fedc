// SPDX-License-Identifier: GPL-2.0

//! A limit for pages that are used: a share of RAM.

use crate::decisions::ram_share::share;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The pages that are used, and the most that should be.
pub(super) struct Quota {
    /// Returns the pages of RAM. They change when RAM is added or removed, and with a balloon.
    ram: fn() -> usize,
    percent: u8,
    used: Atomic<usize>,
}

/// Pages that count as used until this is dropped.
///
/// # Invariants
///
/// `pages` pages are counted for this value.
pub(super) struct Charge<'a> {
    quota: &'a Quota,
    pages: usize,
}

impl Quota {
    /// Creates a quota of `percent` percent of the pages that `ram` returns, none of which is used.
    pub(super) fn new(percent: u8, ram: fn() -> usize) -> Self {
        Self {
            ram,
            percent,
            used: Atomic::new(0),
        }
    }

    /// Returns the limit in pages, at present. What is used already may exceed it.
    pub(super) fn limit(&self) -> usize {
        share((self.ram)(), self.percent)
    }

    /// Returns the number of pages up to the limit.
    pub(super) fn left(&self) -> usize {
        self.limit().saturating_sub(self.used.load(Relaxed))
    }

    /// Returns whether more pages are used than should be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.load(Relaxed) > self.limit()
    }

    /// Returns by how much `pages` more pages would exceed the limit, and 0 if they never fit.
    pub(super) fn excess(&self, pages: usize) -> usize {
        let limit = self.limit();
        match pages <= limit {
            true => pages
                .saturating_add(self.used.load(Relaxed))
                .saturating_sub(limit),
            false => 0,
        }
    }

    /// Counts `pages` pages. Fails with `ENOMEM` if they exceed the limit; others do not notice.
    pub(super) fn charge(&self, pages: usize) -> Result<Charge<'_>> {
        let (limit, mut used) = (self.limit(), self.used.load(Relaxed));
        loop {
            let more = used.checked_add(pages).filter(|more| *more <= limit);
            match self.used.cmpxchg(used, more.ok_or(ENOMEM)?, Relaxed) {
                // INVARIANT: Counted above.
                Ok(_) => return Ok(Charge { quota: self, pages }),
                Err(current) => used = current,
            }
        }
    }

    /// Counts `pages` pages for somebody who is not bound by the limit, which others are.
    pub(super) fn charge_beyond_limit(&self, pages: usize) -> Charge<'_> {
        self.used.fetch_add(pages, Relaxed);
        // INVARIANT: Counted above.
        Charge { quota: self, pages }
    }

    /// Uncounts `pages` pages of a charge that was kept.
    pub(super) fn uncharge(&self, pages: usize) {
        self.used.fetch_sub(pages, Relaxed);
    }
}

impl Charge<'_> {
    /// Lets the pages count until [`Quota::uncharge`] is called.
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.quota.uncharge(self.pages);
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_quota)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_kept_and_charges_end() -> Result {
        static RAM: Atomic<usize> = Atomic::new(0);
        RAM.store(20, Relaxed);
        let quota = Quota::new(50, || RAM.load(Relaxed));
        let first = quota.charge(6)?;
        assert!(quota.charge(5).is_err());
        assert_eq!(
            (quota.excess(5), quota.excess(4), quota.excess(11)),
            (1, 0, 0)
        );
        assert_eq!(quota.left(), 4);
        quota.charge(4)?.keep();
        assert_eq!(quota.left(), 0);
        drop(first);
        assert_eq!(quota.left(), 6);
        assert!(quota.charge(usize::MAX).is_err());
        RAM.store(6, Relaxed);
        assert_eq!((quota.left(), quota.excess(3)), (0, 4));
        quota.uncharge(4);
        assert_eq!(quota.left(), quota.limit());
        Ok(())
    }

    #[test]
    fn others_than_who_is_not_bound_by_it_keep_to_the_limit() {
        let quota = Quota::new(100, || 10);
        let beyond = quota.charge_beyond_limit(12);
        assert_eq!(quota.left(), 0);
        assert!(quota.is_exceeded());
        assert!(quota.charge(1).is_err());
        drop(beyond);
        assert!(!quota.is_exceeded());
        assert!(quota.charge(10).is_ok());
    }
}
