// SPDX-License-Identifier: GPL-2.0

//! Properties of single cache states, and of their numbers.

use crate::cache_state::{
    CacheAction,
    CacheEvent,
    CacheState, //
};
use proptest::prelude::*;

fn cache_events() -> impl Strategy<Value = CacheEvent> {
    prop::sample::select(vec![
        CacheEvent::MapPastCaches,
        CacheEvent::UnmapPastCaches,
        CacheEvent::MapThroughCaches,
        CacheEvent::UnmapThroughCaches,
        CacheEvent::ViewBegins,
        CacheEvent::ViewEnds,
        CacheEvent::AccessBegins,
        CacheEvent::AccessEnds,
        CacheEvent::TrackingEnds,
    ])
}

/// Numbers of states that are not numbers of views, and the next ones.
const SPECIAL: [u32; 9] = [
    0,
    1,
    1 << 16,
    (1 << 16) + 1,
    (u32::MAX << 16) - 1,
    u32::MAX << 16,
    (u32::MAX << 16) + 1,
    u32::MAX - 1,
    u32::MAX,
];

proptest! {
    #[test]
    fn numbers_and_states_correspond(
        bits in prop_oneof![any::<u32>(), prop::sample::select(SPECIAL.to_vec())],
    ) {
        prop_assert_eq!(CacheState::from_bits(bits).to_bits(), bits);
    }

    #[test]
    fn access_is_usual_while_the_cpu_may_have_a_mapping(
        bits in prop_oneof![any::<u32>(), prop::sample::select(SPECIAL.to_vec())],
    ) {
        let state = CacheState::from_bits(bits);
        let after = state.after(CacheEvent::AccessBegins);
        let is_usual = CacheState::may_have_mapping(bits);
        prop_assert_eq!(is_usual, after == (state, CacheAction::Maintain));
    }

    #[test]
    fn skipping_needs_that_there_is_no_view(
        events in prop::collection::vec(cache_events(), 0..100),
        start: u32,
    ) {
        // Begins with few views, or with nearly as many as can be counted.
        let start = match start % 3 {
            0 => CacheState::Written,
            1 => CacheState::from_bits(65_530 | (1 << 16)),
            _ => CacheState::from_bits(1 | (65_530 << 16)),
        };
        let counts = |state: CacheState| (state.to_bits() & 0xffff, state.to_bits() >> 16);
        let (mut mappings, mut devices) = counts(start);
        let mut state = start;
        for event in events {
            match event {
                CacheEvent::ViewEnds if mappings == 0 => continue,
                CacheEvent::UnmapThroughCaches if devices == 0 => continue,
                CacheEvent::ViewBegins => mappings += 1,
                CacheEvent::ViewEnds => mappings -= 1,
                CacheEvent::MapThroughCaches => devices += 1,
                CacheEvent::UnmapThroughCaches => devices -= 1,
                _ => {}
            }
            let (after, action) = state.after(event);
            let past_caches =
                matches!(event, CacheEvent::MapPastCaches | CacheEvent::UnmapPastCaches);
            if mappings + devices > 0 && past_caches {
                prop_assert_eq!(action, CacheAction::Maintain);
            }
            match after {
                CacheState::Written | CacheState::Clean => {
                    prop_assert_eq!((mappings, devices), (0, 0));
                }
                CacheState::Viewed(_) => prop_assert_eq!((mappings, devices), counts(after)),
                CacheState::Untracked => {}
            }
            // Nothing ends the uncertainty.
            prop_assert!(state != CacheState::Untracked || after == state);
            prop_assert_eq!(CacheState::from_bits(after.to_bits()), after);
            state = after;
        }
    }

    #[test]
    fn an_untracked_buffer_is_always_maintained(event in cache_events()) {
        let (state, action) = CacheState::Untracked.after(event);
        prop_assert_eq!(state, CacheState::Untracked);
        let counts = matches!(
            event,
            CacheEvent::ViewBegins
                | CacheEvent::ViewEnds
                | CacheEvent::MapThroughCaches
                | CacheEvent::UnmapThroughCaches
                | CacheEvent::TrackingEnds
        );
        prop_assert_eq!(action == CacheAction::Maintain, !counts);
    }
}
