// SPDX-License-Identifier: GPL-2.0

//! Tests of the pieces of a reserve that no thread fills.

#[kernel::prelude::kunit_tests(rk_dma_heap_reserve)]
mod reserve {
    use super::super::pieces::{
        Pieces,
        Step,
        Taken,
        Wanted, //
    };
    use crate::{
        abstractions::{
            cache_cleaner::Cleaner,
            cma::{
                Preparation,
                Purpose,
                Ram, //
            }, //
        },
        decisions::reserve::Marks, //
    };
    use kernel::prelude::*;

    /// The size of the ranges in these tests.
    const PAGES: usize = 64;

    /// A request for pages of any memory.
    fn wanted(pages: usize, align: u32) -> Wanted {
        Wanted {
            pages,
            align,
            may_be_low: true,
            may_be_high: true,
        }
    }

    fn range(pages: usize, cleaner: &Cleaner) -> Result<Preparation> {
        let range = Ram::new(KVec::new(), None).allocate_small(pages, false);
        Ok(Preparation::new(
            range.ok_or(ENOMEM)?,
            Purpose::all(cleaner),
        ))
    }

    /// Creates a reserve of up to `pages` pages that has none.
    fn empty(pages: usize) -> Result<Pieces> {
        let mut pieces = Pieces::with_room()?;
        pieces.marks = Marks::new(pages);
        Ok(pieces)
    }

    fn insert(pieces: &mut Pieces, range: Preparation) -> bool {
        let limit = pieces.marks.high;
        pieces.insert(range, limit).is_ok()
    }

    fn prepare(pieces: &mut Pieces, cleaner: &Cleaner) {
        while matches!(pieces.prepare_step(cleaner), Step::Prepared) {}
    }

    fn take(pieces: &mut Pieces, wanted: &Wanted) -> Result<Preparation> {
        let Taken { range, surplus } = pieces.take(wanted).ok_or(ENOMEM)?;
        assert!(surplus.iter().all(Option::is_none));
        Ok(range)
    }

    #[test]
    fn a_request_is_cut_from_the_smallest_prepared_piece() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(4 * PAGES)?;
        assert!(insert(&mut pieces, range(PAGES, &cleaner)?));
        prepare(&mut pieces, &cleaner);
        // The pages on both sides keep it from becoming one piece with the other range.
        let mut before = range(PAGES, &cleaner)?;
        let mut small = before.split_off(PAGES / 4);
        let _behind = small.split_off(PAGES / 4);
        let small_pfn = small.segment().pfn;
        assert!(insert(&mut pieces, small));
        prepare(&mut pieces, &cleaner);

        let first = take(&mut pieces, &wanted(3, 2))?;
        assert!(first.is_done_for(Purpose::Cached));
        assert_eq!(first.segment().pages, 3);
        assert_eq!(first.segment().pfn, small_pfn + PAGES / 4 - 4);
        assert_eq!(pieces.pages(), PAGES + PAGES / 4 - 3);
        assert_eq!(take(&mut pieces, &wanted(PAGES, 6))?.segment().pages, PAGES);
        assert!(pieces.take(&wanted(PAGES / 4, 0)).is_none());
        Ok(())
    }

    #[test]
    fn what_was_cut_off_is_one_piece_again() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(PAGES)?;
        assert!(insert(&mut pieces, range(PAGES, &cleaner)?));
        prepare(&mut pieces, &cleaner);
        let parts = [(); 4].map(|()| take(&mut pieces, &wanted(PAGES / 4, 4)));
        assert_eq!(pieces.pages(), 0);
        for (index, part) in parts.into_iter().enumerate() {
            let part = part?.with_purpose(Purpose::all(&cleaner));
            assert!(insert(&mut pieces, part));
            // Both are joined before and after they are prepared.
            if index % 2 == 0 {
                prepare(&mut pieces, &cleaner);
            }
        }
        prepare(&mut pieces, &cleaner);
        assert!(take(&mut pieces, &wanted(PAGES, 6))?.is_done());
        Ok(())
    }

    #[test]
    fn the_size_is_kept_and_a_rest_too() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(PAGES)?;
        assert!(insert(&mut pieces, range(PAGES - 1, &cleaner)?));
        assert!(!insert(&mut pieces, range(2, &cleaner)?));
        pieces.is_resting = true;
        assert!(!insert(&mut pieces, range(1, &cleaner)?));
        pieces.is_resting = false;
        assert!(insert(&mut pieces, range(1, &cleaner)?));
        pieces.marks = Marks::new(0);
        assert!(!insert(&mut pieces, range(1, &cleaner)?));
        assert!(!insert(&mut Pieces::new(), range(1, &cleaner)?));
        Ok(())
    }

    #[test]
    fn all_is_released_in_steps() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(16 * PAGES)?;
        for pages in [5 * PAGES, PAGES, 1] {
            assert!(insert(&mut pieces, range(pages, &cleaner)?));
            if pages != 1 {
                prepare(&mut pieces, &cleaner);
            }
        }
        // A release that is not completed takes nothing from requests.
        let released = pieces.release_step(false).map_or(0, |part| part.pages);
        assert!(released > 0);
        assert!(pieces.end_release().iter().all(Option::is_none));
        let mut sum = released;
        let total = 6 * PAGES + 1;
        assert_eq!(pieces.pages(), total - sum);
        while let Some(part) = pieces.release_step(false) {
            assert!(part.pages > 0);
            sum += part.pages;
            assert_eq!(pieces.pages(), total - sum);
        }
        assert_eq!(sum, total);
        Ok(())
    }

    #[test]
    fn a_piece_that_is_being_released_serves_requests() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(16 * PAGES)?;
        assert!(insert(&mut pieces, range(16 * PAGES, &cleaner)?));
        prepare(&mut pieces, &cleaner);
        assert!(pieces.release_step(false).is_some());
        let left = pieces.pages();
        assert!(take(&mut pieces, &wanted(PAGES, 0))?.is_done());
        assert_eq!(pieces.pages(), left - PAGES);
        Ok(())
    }

    #[test]
    fn a_piece_without_a_place_is_told() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(16 * PAGES)?;
        let mut gaps = KVec::new();
        let mut refused = 0;
        // No list has as many places.
        for _ in 0..2 * PAGES {
            let mut single = range(2, &cleaner)?;
            gaps.push(single.split_off(1), GFP_KERNEL)?;
            assert!(insert(&mut pieces, single));
            loop {
                match pieces.prepare_step(&cleaner) {
                    Step::Prepared => (),
                    Step::NoPlace(range) => refused += range.segment().pages,
                    Step::Left(_) => return Err(EINVAL),
                    Step::Nothing => break,
                }
            }
        }
        assert!(refused > 0);
        assert_eq!(pieces.pages() + refused, 2 * PAGES);
        Ok(())
    }

    #[test]
    fn the_pages_of_the_next_step_are_split_off() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let whole = range(16 * PAGES, &cleaner)?;
        let pfn = whole.segment().pfn;
        let [done, next, rest] = whole.split_next_step();
        assert_eq!((done.segment().pages, next.segment().pfn), (0, pfn));
        assert_eq!(next.segment().pages + rest.segment().pages, 16 * PAGES);
        assert!(next.segment().pages > 0 && rest.segment().pages > 0);
        Ok(())
    }

    #[test]
    fn places_that_do_not_suit_are_left_alone() -> Result {
        let cleaner = Cleaner::new(c"rk_dma_heap_reserve")?;
        let mut pieces = empty(PAGES)?;
        let low = range(PAGES, &cleaner)?;
        let is_low = low.segment().pfn < Ram::END_OF_4G;
        assert!(insert(&mut pieces, low));
        let elsewhere = Wanted {
            may_be_low: !is_low,
            may_be_high: is_low,
            ..wanted(1, 0)
        };
        assert!(pieces.take(&elsewhere).is_none());
        // What is not prepared is taken where nothing else is.
        assert!(!take(&mut pieces, &wanted(1, 0))?.is_done());
        if is_low {
            assert!(pieces.release_step(true).is_some());
        } else {
            assert!(pieces.release_step(true).is_none());
        }
        Ok(())
    }
}
