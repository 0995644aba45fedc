// SPDX-License-Identifier: GPL-2.0

//! Properties of the names of heaps.

use super::heap_name;
use proptest::prelude::*;
use std::ffi::CString;

fn text((first, second): (&str, &str)) -> String {
    format!("{first}{second}")
}

proptest! {
    #[test]
    fn the_cached_heap_lacks_one_part_of_the_name(
        before in "(system|cma)",
        after in "(-dma32)?",
    ) {
        let name = CString::new(format!("{before}-uncached{after}")).unwrap();
        prop_assert_eq!(text(heap_name::cached(&name)), format!("{before}{after}"));
    }

    #[test]
    fn another_name_stands_for_system(name in "[a-z,@0-9]{0,20}") {
        let name = CString::new(name).unwrap();
        prop_assert_eq!(text(heap_name::cached(&name)), "system");
        prop_assert_eq!(text(heap_name::reachable(&name, true)), "system");
    }

    // The name of a carveout is that of its node.
    #[test]
    fn a_carveout_of_any_name_has_no_cached_heap(
        before in "(system|cma)?[a-z,]{0,12}",
        after in "(-[a-z]{1,5})?@[0-9a-f]{1,8}",
        reaches: bool,
    ) {
        let name = CString::new(format!("{before}-uncached{after}")).unwrap();
        prop_assert_eq!(text(heap_name::reachable(&name, reaches)), "system");
    }

    #[test]
    fn any_bytes_are_accepted(bytes in prop::collection::vec(1..=255u8, 0..40), reaches: bool) {
        let name = CString::new(bytes).unwrap();
        let _ = heap_name::reachable(&name, reaches);
    }
}

#[test]
fn only_system_has_a_variant_within_reach() {
    let reachable = |name, reaches| text(heap_name::reachable(name, reaches));
    assert_eq!(reachable(c"system-uncached", true), "system-uncached-dma32");
    assert_eq!(reachable(c"system-uncached", false), "system");
    assert_eq!(reachable(c"system-uncached-dma32", true), "system-dma32");
    assert_eq!(reachable(c"cma-uncached", true), "cma");
}
