// SPDX-License-Identifier: GPL-2.0

//! The format of files that set a number: decimal digits.

use kernel::prelude::*;

/// Parses a number. Fails with `EINVAL` for anything but digits, and for numbers that are too
/// large.
pub(crate) fn parse(text: &[u8]) -> Result<u32> {
    if text.is_empty() {
        return Err(EINVAL);
    }
    text.iter().try_fold(0u32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10);
        let tens = number.checked_mul(10).ok_or(EINVAL)?;
        tens.checked_add(digit.ok_or(EINVAL)?.into()).ok_or(EINVAL)
    })
}
