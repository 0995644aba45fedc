// SPDX-License-Identifier: GPL-2.0

//! Tests of a pool that has no thread and no shrinker, so its state changes only in the tests.

#[kernel::prelude::kunit_tests(rk_dma_heap_page_pool)]
mod page_pool {
    use super::super::{
        free::MAX_INLINE_PREPARE,
        pool_set::PoolContext,
        MemoryType,
        Pool,
        PoolSet,
        PoolStats,
        PooledPages,
        Runs,
        ORDERS, //
    };
    use crate::{
        abstractions::{
            cache_cleaner::Cleaner,
            pages::{
                RunList,
                Zone, //
            },
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

    const MEMORY_TYPE: MemoryType = MemoryType {
        zone: Zone::Any,
        caching: Caching::Cached,
    };

    /// One run each of the two largest orders, and one page.
    const MIXED: usize = (1 << ORDERS[0]) + (1 << ORDERS[1]) + 1;

    /// Creates a set of one pool with a limit of `limit` ready pages.
    fn set_of(limit: usize) -> Result<PoolSet> {
        let cleaner = Arc::new(Cleaner::new(c"rk_dma_heap_kunit")?, GFP_KERNEL)?;
        let context = PoolContext::new(cleaner, None, limit)?;
        let pool = Arc::pin_init(
            Pool::new(c"kunit", MEMORY_TYPE, context.clone()),
            GFP_KERNEL,
        )?;
        let mut pools = KVec::new();
        pools.push(pool, GFP_KERNEL)?;
        Ok(PoolSet { pools, context })
    }

    fn pool(set: &PoolSet) -> Result<&Arc<Pool>> {
        set.pools.first().ok_or(EINVAL)
    }

    fn allocate(set: &PoolSet, pages: usize) -> Result<KBox<PooledPages>> {
        KBox::try_init(pool(set)?.allocate(pages, set), GFP_KERNEL)
    }

    fn stats(set: &PoolSet) -> Result<PoolStats> {
        Ok(pool(set)?.stats())
    }

    #[test]
    fn pages_come_in_runs_of_falling_order() -> Result {
        let set = set_of(0)?;
        for pages in [1, 2, 15, 16, 17, 255, 256, 257, MIXED, 2 * MIXED] {
            let memory = allocate(&set, pages)?;
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
        drop(allocate(&set, MIXED)?);
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (0, MIXED));
        // The pages are taken from the backlog and not allocated.
        let memory = allocate(&set, MIXED)?;
        assert_eq!(stats(&set)?.backlog, 0);
        drop(memory);
        pool(&set)?.process_backlog();
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (MIXED, 0));
        let hits = after.hits;
        let memory = allocate(&set, MIXED)?;
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (0, 0));
        assert!(after.hits > hits);
        drop(memory);
        Ok(())
    }

    #[test]
    fn small_buffers_are_ready_at_once() -> Result {
        let set = set_of(usize::MAX)?;
        drop(allocate(&set, MAX_INLINE_PREPARE)?);
        let after = stats(&set)?;
        assert_eq!((after.ready, after.backlog), (MAX_INLINE_PREPARE, 0));
        Ok(())
    }

    #[test]
    fn no_more_is_ready_than_may_be() -> Result {
        let limit = 1 << ORDERS[1];
        let set = set_of(limit)?;
        drop(allocate(&set, MIXED)?);
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
        let context = &set.context;
        assert!(context.try_reserve(10));
        assert!(!context.try_reserve(1));
        context.unreserve(3);
        assert!(!context.try_reserve(4));
        assert!(context.try_reserve(3));
        context.unreserve(10);
        // The failed reservations were not counted.
        assert!(context.try_reserve(10));
        context.unreserve(10);
        Ok(())
    }

    #[test]
    fn depot_is_locked_for_a_batch() -> Result {
        const BUFFERS: usize = 20;
        let set = set_of(usize::MAX)?;
        let single = ORDERS.len() - 1;
        // Buffers of single pages, too large to be prepared when they are freed.
        let mut buffers = KVec::new();
        for _ in 0..BUFFERS {
            buffers.push(allocate(&set, (1 << ORDERS[2]) - 1)?, GFP_KERNEL)?;
        }
        let pages = BUFFERS * ((1 << ORDERS[2]) - 1);
        drop(buffers);
        let pool = pool(&set)?;
        pool.process_backlog();
        assert_eq!(pool.stats().ready, pages);
        let mut list = RunList::new(ORDERS[single]);
        let wanted = pages - 1;
        let moved = pool.take_from_depot(true, single, wanted, &mut list);
        assert_eq!(
            (moved, list.runs()),
            (RunList::MOVE_BATCH, RunList::MOVE_BATCH)
        );
        // All that are left are moved at once, because that takes no time.
        let moved = pool.take_from_depot(true, single, pages, &mut list);
        assert_eq!((moved, list.runs()), (pages - RunList::MOVE_BATCH, pages));
        let mut none = RunList::new(ORDERS[single]);
        assert_eq!(pool.take_from_depot(true, single, 1, &mut none), 0);
        // These pages are not counted as taken, so they go back as if they had not been.
        pool.depot.lock().append_list(&mut list);
        let mut runs = Runs::new();
        assert_eq!(pool.take_ready(single, wanted, &mut runs), wanted);
        assert_eq!(pool.stats().ready, pages - wanted);
        Ok(())
    }

    #[test]
    fn shrinker_counts_exactly() -> Result {
        let set = set_of(usize::MAX)?;
        assert_eq!(set.count(), 0);
        assert_eq!(set.scan(1), 0);
        let first = allocate(&set, MIXED)?;
        let second = allocate(&set, MIXED)?;
        drop(first);
        pool(&set)?.process_backlog();
        drop(second);
        assert_eq!(set.count(), 2 * MIXED);
        // A single page is in the backlog, so exactly one page is freed.
        assert_eq!(set.scan(1), 1);
        assert_eq!(set.count(), 2 * MIXED - 1);
        // Then whole runs are freed and counted: at least as many pages as requested.
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
        drop(allocate(&set, MIXED)?);
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
