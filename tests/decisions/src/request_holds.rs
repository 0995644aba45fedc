// SPDX-License-Identifier: GPL-2.0

use crate::page::PAGE_SIZE;
use crate::prelude::{
    EINVAL,
    ENOMEM, //
};
use crate::request::Request;
use proptest::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

/// Sizes of all magnitudes, sizes around whole pages, and sizes around both ends of the range.
fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        (any::<u64>(), 0..64u32).prop_map(|(size, shift)| size >> shift),
        (0..1000u64, -2..=2i64).prop_map(|(pages, off)| (pages * PAGE).wrapping_add_signed(off)),
        (0..3 * PAGE).prop_map(|off| u64::MAX - off),
    ]
}

fn flags() -> impl Strategy<Value = u32> {
    let known = (libc::O_CLOEXEC | libc::O_ACCMODE) as u32;
    prop_oneof![
        Just(0),
        any::<u32>().prop_map(move |flags| flags & known),
        any::<u32>()
    ]
}

fn heap_flags() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        (0..u64::BITS).prop_map(|bit| 1 << bit),
        any::<u64>()
    ]
}

proptest! {
    #[test]
    fn only_valid_requests_are_accepted(
        size in sizes(),
        fd_flags in flags(),
        heap_flags in heap_flags(),
    ) {
        let known = (libc::O_CLOEXEC | libc::O_ACCMODE) as u32;
        let valid = fd_flags & !known == 0
            && heap_flags == 0
            && size > 0
            && size <= u64::MAX - (PAGE - 1);
        match Request::new(size, fd_flags, heap_flags) {
            Ok(request) => {
                prop_assert!(valid);
                let rounded = request.size() as u64;
                prop_assert!(rounded >= size && rounded - size < PAGE && rounded % PAGE == 0);
                prop_assert_eq!(request.flags(), fd_flags);
            }
            Err(error) if valid => prop_assert!(error == ENOMEM && usize::try_from(size).is_err()),
            Err(error) => prop_assert_eq!(error, EINVAL),
        }
    }
}
