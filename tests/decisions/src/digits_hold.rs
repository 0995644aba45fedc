// SPDX-License-Identifier: GPL-2.0

use crate::digits::{
    div10_by_words,
    Digits, //
};
use proptest::prelude::*;

/// Numbers of all lengths.
fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

proptest! {
    #[test]
    fn decimals_are_those_of_core(number in numbers()) {
        let digits = Digits::decimal(number);
        prop_assert_eq!(digits.as_bytes(), number.to_string().into_bytes());
    }

    #[test]
    fn hexadecimals_are_those_of_core(number in numbers()) {
        let digits = Digits::hexadecimal(number);
        prop_assert_eq!(digits.as_bytes(), format!("{number:x}").into_bytes());
    }

    #[test]
    fn division_by_words_is_division(number in numbers()) {
        prop_assert_eq!(div10_by_words(number), number / 10);
    }
}
