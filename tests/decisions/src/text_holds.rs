// SPDX-License-Identifier: GPL-2.0

use crate::text::{
    is_plain,
    truncate,
    until_nul,
    Column,
    Field,
    Text, //
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Valid and invalid UTF-8, as programs choose names freely.
fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        "[a-z0-9:, -]{0,20}".prop_map(String::into_bytes),
    ]
}

/// Decodes a field.
fn decode(field: &str) -> Vec<u8> {
    if field == "-" {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    let mut left = field.as_bytes();
    while let [first, rest @ ..] = left {
        left = rest;
        match (first, rest) {
            (b'\\', [a, b, c, rest @ ..]) => {
                let digit = |byte: &u8| byte - b'0';
                bytes.push(digit(a) * 64 + digit(b) * 8 + digit(c));
                left = rest;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn truncate_returns_the_longest_valid_prefix(text in names(), max_len in 0..50usize) {
        let short = truncate(&text, max_len);
        prop_assert!(short.len() <= max_len && text.starts_with(short));
        match std::str::from_utf8(&text) {
            Ok(text) => {
                prop_assert!(text.is_char_boundary(short.len()));
                // The next character does not fit.
                let next = text[short.len()..].chars().next().map_or(0, char::len_utf8);
                prop_assert!(next == 0 || short.len() + next > max_len);
            }
            Err(_) => prop_assert!(short.len() + 4 > max_len.min(text.len())),
        }
    }

    #[test]
    fn text_never_exceeds_its_capacity(parts in vec(names(), 0..5)) {
        let mut text = Text::<16>::new();
        let mut whole = Vec::new();
        for part in &parts {
            text.push(part);
            whole.extend_from_slice(until_nul(part));
        }
        let kept = text.as_bytes();
        prop_assert!(kept.len() < 16);
        if whole.len() < 16 {
            prop_assert_eq!(kept, whole);
        }
    }

    #[test]
    fn fields_can_be_decoded(text in names()) {
        let field = Field(&text).to_string();
        prop_assert!(!field.is_empty());
        prop_assert!(
            field.chars().all(|c| !c.is_whitespace() && !c.is_control() && !",:".contains(c))
        );
        // Only the empty name and the name `-` have the same field.
        prop_assert!(decode(&field) == text || text == b"-");
    }

    #[test]
    fn plain_bytes_are_those_that_stay(byte: u8) {
        prop_assert_eq!(is_plain(byte), Field(&[byte]).to_string().as_bytes() == [byte]);
    }

    #[test]
    fn columns_never_break_a_line(text in names(), width in 0..40usize) {
        let column = format!("{:<width$}", Column(&text));
        prop_assert!(!column.chars().any(char::is_control));
        prop_assert!(column.len() >= width);
        if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let plain = String::from_utf8_lossy(&text).into_owned();
            prop_assert_eq!(column, format!("{plain:<width$}"));
        }
    }

    #[test]
    fn until_nul_ends_at_the_first_zero(text in names()) {
        let name = until_nul(&text);
        prop_assert!(text.starts_with(name) && !name.contains(&0));
        prop_assert!(name.len() == text.len() || text[name.len()] == 0);
    }
}
