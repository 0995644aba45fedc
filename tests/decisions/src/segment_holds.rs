// SPDX-License-Identifier: GPL-2.0

use crate::page::PAGE_SIZE;
use crate::segment::{
    Extent,
    Segment, //
};
use proptest::prelude::*;

const PAGE: u128 = PAGE_SIZE as u128;

/// Ranges that are often close to each other and to both ends of the address space.
fn extents() -> impl Strategy<Value = Extent> {
    let small = 0..5 * PAGE_SIZE as u64;
    let base = prop_oneof![
        small.clone(),
        any::<u64>(),
        small.clone().prop_map(|off| u64::MAX - off)
    ];
    let size = prop_oneof![small, any::<u64>()];
    (base, size).prop_map(|(base, size)| Extent { base, size })
}

fn end(extent: &Extent) -> u128 {
    u128::from(extent.base) + u128::from(extent.size)
}

proptest! {
    #[test]
    fn chunks_are_consecutive_and_complete(
        pfn in 0..1usize << 40,
        pages in 0..10_000usize,
        max_pages in 0..300usize,
    ) {
        let whole = Segment { pfn, pages };
        let chunks: Vec<_> = whole.chunks(max_pages).collect();
        let mut next = pfn;
        for (index, chunk) in chunks.iter().enumerate() {
            prop_assert_eq!(chunk.pfn, next);
            let max_pages = max_pages.max(1);
            let last = index + 1 == chunks.len();
            prop_assert!(chunk.pages == max_pages || last && chunk.pages <= max_pages);
            next += chunk.pages;
        }
        prop_assert_eq!(next, pfn + pages);
    }

    #[test]
    fn address_and_size_are_in_bytes(pfn in 0..1usize << 40, pages in 0..1usize << 40) {
        let segment = Segment { pfn, pages };
        prop_assert_eq!(u128::from(segment.address()), pfn as u128 * PAGE);
        prop_assert_eq!(segment.bytes() as u128, pages as u128 * PAGE);
    }

    #[test]
    fn whole_pages_are_all_that_lie_within(extent in extents()) {
        let first = u128::from(extent.base).div_ceil(PAGE);
        let limit = end(&extent) / PAGE;
        match extent.whole_pages() {
            Ok(segment) => {
                prop_assert_eq!(segment.pfn as u128, first);
                prop_assert_eq!((segment.pfn + segment.pages) as u128, limit);
                prop_assert!(segment.pages > 0);
            }
            // A range beyond the end of the address space is invalid.
            Err(_) => prop_assert!(limit <= first || end(&extent) > u128::from(u64::MAX)),
        }
    }

    #[test]
    fn covered_means_that_every_byte_is(
        base in 0..200u64,
        size in 0..200u64,
        banks in prop::collection::vec((0..300u64, 0..100u64), 0..8),
        offset in prop_oneof![Just(0), Just(u64::MAX - 399)],
    ) {
        let extent = |base: u64, size| Extent { base: offset + base, size };
        let banks: Vec<_> = banks.into_iter().map(|(base, size)| extent(base, size)).collect();
        let all = (base..base + size).all(|byte| {
            banks.iter().any(|bank| bank.contains(offset + byte))
        });
        let mut calls = 0;
        let covered = extent(base, size).is_covered(|address| {
            calls += 1;
            banks.iter().copied().find(|bank| bank.contains(address))
        });
        prop_assert_eq!(covered, all);
        // The search ends, whatever the ranges are.
        prop_assert!(calls <= banks.len() + 1);
    }

    #[test]
    fn any_answer_ends_the_search(extent in extents(), answer in extents()) {
        let covered = extent.is_covered(|_| Some(answer));
        prop_assert!(!covered || extent.size == 0 || answer.contains(extent.base));
    }

    #[test]
    fn overlap_means_a_common_byte(one in extents(), other in extents()) {
        let last = u128::from(u64::MAX);
        let common = end(&one).min(end(&other)).min(last) > u128::from(one.base.max(other.base));
        let both = one.size > 0 && other.size > 0;
        if both {
            prop_assert_eq!(one.overlaps(&other), common);
        }
        prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
    }
}
