// SPDX-License-Identifier: GPL-2.0

use crate::page::PAGE_SIZE;
use crate::segment::{
    Extent,
    Segment, //
};
use proptest::prelude::*;

const PAGE: u128 = PAGE_SIZE as u128;

/// Ranges that often lie close together, and near both ends of what can be addressed.
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
    fn parts_follow_each_other_to_the_end(pfn in 0..1usize << 40, pages in 0..10_000usize, most in 0..300usize) {
        let whole = Segment { pfn, pages };
        let parts: Vec<_> = whole.parts(most).collect();
        let mut next = pfn;
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(part.pfn, next);
            let most = most.max(1);
            prop_assert!(part.pages == most || index + 1 == parts.len() && part.pages <= most);
            next += part.pages;
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
        let behind = end(&extent) / PAGE;
        match extent.whole_pages() {
            Ok(segment) => {
                prop_assert_eq!(segment.pfn as u128, first);
                prop_assert_eq!((segment.pfn + segment.pages) as u128, behind);
                prop_assert!(segment.pages > 0);
            }
            // A range that reaches over the end of what can be addressed is none.
            Err(_) => prop_assert!(behind <= first || end(&extent) > u128::from(u64::MAX)),
        }
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
