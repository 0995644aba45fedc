// SPDX-License-Identifier: GPL-2.0

//! Tests of the state of a cache that observes no requests, so it changes only in the tests.

#[kernel::prelude::kunit_tests(rk_dma_heap_range_cache)]
mod range_cache {
    use super::super::state::{
        CachedRange,
        Inserted,
        State, //
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
}
