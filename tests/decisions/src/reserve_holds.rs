// SPDX-License-Identifier: GPL-2.0

use crate::reserve::{
    align_order,
    best_fit,
    parts,
    piece_sizes,
    place,
    Backoff,
    Marks, //
};
use crate::segment::Segment;
use proptest::prelude::*;

prop_compose! {
    fn piece()(pfn in 1usize..1 << 24, pages in 1usize..1 << 15) -> Segment {
        Segment { pfn, pages }
    }
}

proptest! {
    #[test]
    fn a_reserve_is_filled_from_the_low_mark_to_the_high_one(high: usize, pages: usize) {
        let marks = Marks::new(high);
        prop_assert!(marks.low <= marks.high && marks.high - marks.low <= high / 4);
        prop_assert_eq!(marks.missing(false, marks.low), None);
        prop_assert_eq!(marks.missing(true, high), None);
        let missing = marks.missing(true, pages);
        prop_assert_eq!(missing.unwrap_or(0), high.saturating_sub(pages));
        prop_assert_eq!(marks.missing(false, pages), missing.filter(|_| pages < marks.low));
    }

    #[test]
    fn parts_are_whole_runs_and_together_all_pages(pages in 0usize..1 << 40) {
        let orders = [9, 8, 4, 0];
        let parts = parts(pages, orders);
        prop_assert_eq!(parts.iter().sum::<usize>(), pages);
        for (part, order) in parts.iter().zip(orders) {
            prop_assert_eq!(part % (1 << order), 0);
        }
        // A pool of some size has some of each.
        prop_assert!(pages < 4096 || parts.iter().all(|part| *part > 0));
        prop_assert!(pages < 4096 || parts[0] >= pages / 2);
    }

    #[test]
    fn pieces_are_powers_of_two_between_a_block_and_32_mib(
        missing in 1usize..1 << 20,
        block_order in 5u32..14,
    ) {
        let block = 1 << block_order;
        let sizes: Vec<_> = piece_sizes(missing, block).collect();
        prop_assert!(sizes.iter().all(|size| size.is_power_of_two() && *size >= block));
        prop_assert!(sizes.windows(2).all(|pair| pair[0] == 2 * pair[1]));
        prop_assert_eq!(sizes.last(), Some(&block));
        let first = sizes[0];
        prop_assert!(first == block || (first <= missing && first <= 8192));
        prop_assert!(2 * first > missing || first >= 8192);
    }

    #[test]
    fn the_highest_place_is_found(
        piece in piece(),
        pages in 1usize..1 << 12,
        block_order in 5..13,
    ) {
        let order = align_order(pages, 1usize << block_order);
        prop_assert!(order <= block_order as u32);
        prop_assert!(1usize << order >= pages.min(1usize << block_order));
        let alignment = 1usize << order;
        let starts = piece.pfn..(piece.pfn + piece.pages + 1).saturating_sub(pages);
        let highest = starts.rev().find(|pfn| pfn % alignment == 0);
        let placed = place(piece, pages, order);
        prop_assert_eq!(placed.map(|segment| segment.pfn), highest);
        prop_assert!(placed.is_none_or(|segment| segment.pages == pages));
    }

    #[test]
    fn no_smaller_piece_fits(
        pieces in prop::collection::vec(piece(), 0..20),
        pages in 1usize..4096,
    ) {
        let order = align_order(pages, 512);
        let best = best_fit(pieces.iter().copied().enumerate(), pages, order);
        let fits = |piece: &&Segment| place(**piece, pages, order).is_some();
        let smallest = pieces.iter().filter(fits).map(|piece| piece.pages).min();
        prop_assert_eq!(best.map(|index| pieces[index].pages), smallest);
    }

    #[test]
    fn delays_double_and_end(shortest in 1u32..1000, failures in 1usize..40) {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..failures).map(|_| backoff.next(shortest)).collect();
        prop_assert_eq!(delays[0], shortest);
        for pair in delays.windows(2) {
            prop_assert_eq!(pair[1], (2 * pair[0]).min(30_000));
        }
        backoff.reset();
        prop_assert_eq!(backoff.next(shortest), shortest);
    }
}
