// SPDX-License-Identifier: GPL-2.0

use crate::default_name::default_name;
use proptest::prelude::*;

/// A name of a thread, padded with zeros. The kernel cuts names off after 15 bytes.
fn padded(name: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    let len = name.len().min(15);
    padded[..len].copy_from_slice(&name[..len]);
    padded
}

proptest! {
    #[test]
    fn plain_names_are_cut_off_after_16_bytes(
        pid in prop_oneof![any::<u32>(), 0..5_000_000_u32],
        thread in "[ -~]{0,20}",
    ) {
        let name = default_name(pid, padded(thread.as_bytes()));
        let whole = format!("{pid}-{}", &thread[..thread.len().min(15)]);
        let len = whole.len().min(16);
        prop_assert_eq!(&name[..len], &whole.as_bytes()[..len]);
        prop_assert!(name[len..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn other_names_are_cut_off_between_characters(pid in 0..5_000_000_u32, thread in "\\PC{0,15}") {
        // The kernel may have split a character.
        let thread = padded(thread.as_bytes());
        let name = default_name(pid, thread);
        let name = crate::text::until_nul(&name);
        let mut whole = format!("{pid}-").into_bytes();
        whole.extend_from_slice(crate::text::until_nul(&thread));
        prop_assert!(whole.starts_with(name));
        if std::str::from_utf8(&whole).is_ok() {
            prop_assert!(std::str::from_utf8(name).is_ok());
        }
        prop_assert!(name.len() + 4 > whole.len().min(16));
    }
}
