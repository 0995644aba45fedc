// SPDX-License-Identifier: GPL-2.0

//! A pool without a thread and a shrinker: nothing happens that a test does not do itself.

#[kernel::prelude::kunit_tests(rk_dma_heap_page_pool)]
mod page_pool {
    use super::super::{
        pool_set::Shared,
        Kind,
        Pool,
        PoolSet,
        PoolStats,
        PooledPages,
        ORDERS,
        PREPARE_AT_ONCE, //
    };
    use crate::{
        abstractions::{
            cache_cleaner::Cleaner,
            pages::Zone,
            shrinker::Shrink, //
        },
        decisions::memory::{
            Caching,
            Memory, //
        }, //
    };
    use kernel::{
        prelude::*,
        sync::Arc, //
    };

    const KIND: Kind = Kind {
        zone: Zone::Any,
        caching: Caching::Cached,
    };

    /// A run of the largest order and two smaller ones: 1 + 1 + 1 runs, or 1 MiB, 64 KiB and a
    /// page.
    const MIXED: usize = (1 << ORDERS[0]) + (1 << ORDERS[1]) + 1;

    /// A set of one pool, which holds at most `limit` pages ready.
    fn set_of(limit: usize) -> Result<PoolSet> {
        let cleaner = Arc::new(Cleaner::new(c"rk_dma_heap_kunit")?, GFP_KERNEL)?;
        let shared = Shared::new(cleaner, None, limit)?;
        let pool = Arc::pin_init(Pool::new(c"kunit", KIND, shared.clone()), GFP_KERNEL)?;
        let mut pools = KVec::new();
        pools.push(pool, GFP_KERNEL)?;
        Ok(PoolSet { pools, shared })
    }

    fn pool(set: &PoolSet) -> Result<&Arc<Pool>> {
        set.pools.first().ok_or(EINVAL)
    }

    fn collect(set: &PoolSet, pages: usize) -> Result<KBox<PooledPages>> {
        KBox::try_init(pool(set)?.collect(pages, set), GFP_KERNEL)
    }

    fn stats(set: &PoolSet) -> Result<PoolStats> {
        Ok(pool(set)?.stats())
    }

    #[test]
    fn pages_come_in_runs_of_falling_order() -> Result {
        let set = set_of(0)?;
        for pages in [1, 2, 15, 16, 17, 255, 256, 257, MIXED, 2 * MIXED] {
            let memory = collect(&set, pages)?;
            assert_eq!(memory.pages(), pages);
            let (mut sum, mut last) = (0, usize::MAX);
            for segment in memory.segments() {
                assert!(segment.pages <= last);
                assert!(ORDERS.iter().any(|order| segment.pages == 1 << order));
                // The buddy allocator aligns a run to its own size.
                assert_eq!(segment.pfn % segment.pages, 0);
                sum += segment.pages;
                last = segment.pages;
            }
            assert_eq!(sum, pages);
        }
        Ok(())
    }

    #[test]
    fn what_comes_back_waits_and_is_taken_again() -> Result {
        let set = set_of(usize::MAX)?;
        drop(collect(&set, MIXED)?);
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (0, MIXED));
        // From the backlog, so that nothing is asked of the kernel.
        let memory = collect(&set, MIXED)?;
        assert_eq!(stats(&set)?.backlog, 0);
        drop(memory);
        pool(&set)?.process_backlog();
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (MIXED, 0));
        let hits = after.hits;
        let memory = collect(&set, MIXED)?;
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (0, 0));
        assert!(after.hits > hits);
        drop(memory);
        Ok(())
    }

    #[test]
    fn small_buffers_are_ready_at_once() -> Result {
        let set = set_of(usize::MAX)?;
        drop(collect(&set, PREPARE_AT_ONCE)?);
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (PREPARE_AT_ONCE, 0));
        Ok(())
    }

    #[test]
    fn no_more_is_ready_than_may_be() -> Result {
        let limit = 1 << ORDERS[1];
        let set = set_of(limit)?;
        drop(collect(&set, MIXED)?);
        pool(&set)?.process_backlog();
        let after = stats(&set)?;
        assert!(after.ready <= limit);
        assert!(after.ready > 0);
        assert_eq!(after.backlog, 0);
        Ok(())
    }

    #[test]
    fn reserving_keeps_to_the_limit() -> Result {
        let set = set_of(10)?;
        let shared = &set.shared;
        assert!(shared.reserve(10));
        assert!(!shared.reserve(1));
        shared.release(3);
        assert!(!shared.reserve(4));
        assert!(shared.reserve(3));
        shared.release(10);
        // What was refused was not counted.
        assert!(shared.reserve(10));
        shared.release(10);
        Ok(())
    }

    #[test]
    fn shrinker_counts_exactly() -> Result {
        let set = set_of(usize::MAX)?;
        assert_eq!(set.count(), 0);
        assert_eq!(set.scan(1), 0);
        let first = collect(&set, MIXED)?;
        let second = collect(&set, MIXED)?;
        drop(first);
        pool(&set)?.process_backlog();
        drop(second);
        assert_eq!(set.count(), 2 * MIXED);
        // One page of the backlog is enough for one that is asked for.
        assert_eq!(set.scan(1), 1);
        assert_eq!(set.count(), 2 * MIXED - 1);
        // Then whole runs: at least what is asked for, and counted as what they are.
        let freed = set.scan(2);
        assert!(freed >= 2);
        assert_eq!(set.count(), 2 * MIXED - 1 - freed);
        let left = set.count();
        assert_eq!(set.scan(usize::MAX), left);
        assert_eq!(set.count(), 0);
        assert_eq!(stats(&set)?.reclaimed, 2 * MIXED);
        Ok(())
    }

    #[test]
    fn largest_runs_are_given_up_last() -> Result {
        let set = set_of(usize::MAX)?;
        drop(collect(&set, MIXED)?);
        pool(&set)?.process_backlog();
        let mut left = MIXED;
        for order in ORDERS.iter().rev() {
            left -= set.scan(1);
            assert_eq!(set.count(), left);
            assert_eq!(left % (1 << order), 0);
        }
        assert_eq!(left, 0);
        Ok(())
    }
}
