// SPDX-License-Identifier: GPL-2.0

//! The format of files that set a number: decimal digits.

use kernel::prelude::*;

/// Parses a number. Fails with `EINVAL` for anything but digits, and for numbers that are too
/// large.
pub(crate) fn parse(text: &[u8]) -> Result<u32> {
    match core::str::from_utf8(text) {
        // A sign is not part of the format.
        Ok(text) if !text.starts_with('+') => text.parse().map_err(|_| EINVAL),
        _ => Err(EINVAL),
    }
}
