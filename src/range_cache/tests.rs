// SPDX-License-Identifier: GPL-2.0

//! Tests of the state of a cache that observes no requests, so it changes only in the tests.

#[kernel::prelude::kunit_tests(rk_dma_heap_range_cache)]
mod range_cache {
    use super::super::{
        state::{
            CachedRange,
            Inserted,
            State, //
        },
        RangeRequest, //
    };
    use crate::abstractions::{
        cma::{
            Area,
            Preparation,
            Purpose, //
        },
        cma_requests::{
            RequestSize,
            RequestedArea, //
        }, //
    };
    use kernel::prelude::*;

    const SIZE: RequestSize = RequestSize {
        pages: 1,
        available: 1,
        total: 1,
    };

    /// Returns whether a range of `area` is cached when it is freed.
    fn caches(state: &mut State, area: Area) -> Result<bool> {
        let range = area.allocate(1, 0).ok_or(ENOMEM)?;
        let inserted = state.insert(CachedRange::new(
            Preparation::new(range, Purpose::Cached),
            area,
        ));
        Ok(matches!(inserted, Inserted::Cached { .. }))
    }

    #[test]
    fn the_end_of_an_unknown_request_ends_no_other() -> Result {
        let area = Area::default().ok_or(ENODEV)?;
        let requested = RequestedArea::of(area);
        let mut state = State::new(None)?;
        state.set_enabled(true);
        assert!(caches(&mut state, area)?);

        assert!(state.begin_request(2, requested, SIZE).is_some());
        assert!(!caches(&mut state, area)?);
        // Task 1 began before the cache observed requests.
        state.end_request(1, requested);
        assert!(!caches(&mut state, area)?);
        state.end_request(2, requested);
        assert!(caches(&mut state, area)?);
        Ok(())
    }

    #[test]
    fn requests_beyond_the_list_count() -> Result {
        let area = Area::default().ok_or(ENODEV)?;
        let requested = RequestedArea::of(area);
        let mut state = State::new(None)?;
        state.set_enabled(true);
        for task in 0..100 {
            assert!(state.begin_request(task, requested, SIZE).is_some());
        }
        for task in 0..100 {
            assert!(!caches(&mut state, area)?);
            state.end_request(task, requested);
        }
        assert!(caches(&mut state, area)?);
        Ok(())
    }

    #[test]
    fn lower_memory_that_somebody_else_releases() -> Result {
        let area = Area::default().ok_or(ENODEV)?;
        let request = RangeRequest {
            area,
            pages: 1,
            area_pages: None,
            align: 0,
            first_fit: true,
            purpose: Purpose::Cached,
        };
        let mut state = State::new(None)?;
        state.set_enabled(true);
        assert!(caches(&mut state, area)?);
        let found = area.allocate(1, 0).ok_or(ENOMEM)?;
        let pfn = found.segment().pfn;

        // Released after the search, before the requester could do it.
        state.begin_search(1, area);
        let searched = state.end_search(1, &request);
        assert_eq!(state.release_step(|_| true), 1);
        assert!(searched.limit_for_lower(pfn).is_some());

        // Released during the search.
        assert!(caches(&mut state, area)?);
        state.begin_search(1, area);
        assert_eq!(state.release_step(|_| true), 1);
        let searched = state.end_search(1, &request);
        assert!(searched.limit_for_lower(pfn).is_some());

        // Released before it.
        state.begin_search(1, area);
        let searched = state.end_search(1, &request);
        assert!(searched.limit_for_lower(pfn).is_none());
        Ok(())
    }
}
