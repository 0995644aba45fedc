// SPDX-License-Identifier: GPL-2.0

use crate::page::PAGE_SHIFT;
use crate::ram_share::{
    mib_of_pages,
    pages_of_mib,
    pool_pages,
    share, //
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn share_is_what_wide_numbers_say(pages: usize, percent in 0..=100u8) {
        let wide = pages as u128 * u128::from(percent) / 100;
        prop_assert_eq!(share(pages, percent) as u128, wide);
    }

    #[test]
    fn pools_keep_to_both_bounds(ram: usize, percent in 0..=100u8, mib: u32) {
        let pages = pool_pages(ram, percent, mib);
        let bound = u128::from(mib) << (20 - PAGE_SHIFT);
        prop_assert!(pages <= share(ram, percent));
        prop_assert!(pages as u128 <= bound);
        prop_assert!(pages == share(ram, percent) || pages as u128 == bound);
    }

    #[test]
    fn mib_are_pages_and_back(mib: u32) {
        let pages = pages_of_mib(mib);
        prop_assert_eq!(pages as u128, u128::from(mib) << (20 - PAGE_SHIFT));
        prop_assert_eq!(mib_of_pages(pages), mib as usize);
        prop_assert_eq!(mib_of_pages(pages.saturating_sub(1)), (mib as usize).saturating_sub(1));
    }
}
