// SPDX-License-Identifier: GPL-2.0

use crate::area_survey::{
    PageUse,
    Survey, //
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::RangeInclusive;

/// The first page frame number of all areas.
const FIRST: usize = 1024;

/// Runs of pages with the same use.
fn areas() -> impl Strategy<Value = Vec<(PageUse, usize)>> {
    let usage = prop_oneof![
        4 => Just(PageUse::Movable),
        2 => Just(PageUse::Pinned),
        1 => Just(PageUse::Allocated),
    ];
    vec((usage, 1..20usize), 0..40)
}

fn survey(area: &[(PageUse, usize)], pages: usize, orders: RangeInclusive<u32>) -> Survey {
    let mut survey = Survey::new(FIRST, pages, orders);
    for (usage, pages) in area {
        survey.add(*usage, *pages);
    }
    survey.finish()
}

fn single_pages(area: &[(PageUse, usize)]) -> Vec<PageUse> {
    let runs = area.iter().map(|(usage, pages)| vec![*usage; *pages]);
    runs.collect::<Vec<_>>().concat()
}

/// The search of `cma_alloc()`: the position, if any, and the number of busy ones before it.
fn search(area: &[PageUse], pages: usize, order: u32) -> (Option<usize>, usize) {
    let mut busy = 0;
    for position in (FIRST..).step_by(1 << order).map(|pfn| pfn - FIRST) {
        let Some(range) = area.get(position..position + pages) else {
            break;
        };
        if range.contains(&PageUse::Allocated) {
            continue;
        }
        if !range.contains(&PageUse::Pinned) {
            return (Some(position), busy);
        }
        busy += 1;
    }
    (None, busy)
}

/// The number of ranges that `cma_alloc()` returns, each with the alignment that `order` chooses.
fn fill(
    area: &[(PageUse, usize)],
    pages: usize,
    order: impl Fn(&[(PageUse, usize)]) -> u32,
) -> usize {
    let mut area = area.to_vec();
    for count in 0.. {
        let mut single = single_pages(&area);
        let (Some(position), _) = search(&single, pages, order(&area)) else {
            return count;
        };
        single[position..position + pages].fill(PageUse::Allocated);
        area = single.into_iter().map(|usage| (usage, 1)).collect();
    }
    unreachable!()
}

proptest! {
    #[test]
    fn packing_takes_at_most_twice_the_attempts(area in areas(), pages in 1..40usize) {
        let order = survey(&area, pages, 0..=5).packed_order(4);
        let area = single_pages(&area);
        let (position, busy) = search(&area, pages, order);
        let aligned = [4, 5].map(|order| search(&area, pages, order));
        let cheapest = aligned.iter().filter(|(position, _)| position.is_some());
        match cheapest.map(|(_, busy)| *busy).min() {
            Some(cheapest) => {
                prop_assert!(position.is_some());
                prop_assert!(busy < 2 * (cheapest + 1));
            }
            None if position.is_some() => prop_assert!(busy <= 16),
            // Pages may be pinned for a moment only: a few attempts are worth it.
            None => prop_assert!(busy <= aligned[0].1.max(16)),
        }
    }

    #[test]
    fn packing_is_first_fit_if_that_is_not_dearer(area in areas(), pages in 1..40usize) {
        let order = survey(&area, pages, 0..=5).packed_order(5);
        let area = single_pages(&area);
        let (position, busy) = search(&area, pages, 0);
        // The kernel's alignment gives no limit if it has no position.
        let limit = match search(&area, pages, 5) {
            (Some(_), aligned_busy) => 2 * aligned_busy,
            (None, _) => 16,
        };
        if position.is_some() && busy <= limit || !area.contains(&PageUse::Pinned) {
            prop_assert_eq!(order, 0);
        }
    }

    #[test]
    fn a_first_position_that_is_free_settles_the_order(area in areas(), pages in 1..40usize) {
        let mut survey = Survey::new(FIRST, pages, 0..=5);
        for (usage, run) in &area {
            survey.add(*usage, *run);
            if survey.is_first_free() {
                prop_assert_eq!(survey.finish().packed_order(5), 0);
                let (position, busy) = search(&single_pages(&area), pages, 0);
                prop_assert!(position.is_some());
                prop_assert_eq!(busy, 0);
                break;
            }
        }
    }

    #[test]
    fn alignment_costs_no_range(
        area in areas(),
        pages in 1..40usize,
        low in 0..4u32,
        more in 0..3u32,
    ) {
        let chosen = fill(&area, pages, |area| {
            survey(area, pages, low..=low + more).aligned_order()
        });
        prop_assert!(chosen >= fill(&area, pages, |_| low));
    }
}
