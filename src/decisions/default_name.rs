// SPDX-License-Identifier: GPL-2.0

//! The default name of a dma-buf: `PID-THREADNAME`.

use super::{
    digits::Digits,
    text::{
        until_nul,
        Text, //
    }, //
};

/// The length limit of a name, in bytes.
const LEN: usize = 16;

/// The number of decimal digits that always fit into the first word, with the `-` behind them. No
/// kernel has larger process IDs.
const MAX_DIGITS: u32 = 7;

/// The bits that are not set in any byte of ASCII.
const NOT_ASCII: u64 = 0x8080_8080_8080_8080;

/// Returns `PID-THREADNAME`, truncated to 16 bytes, at a character boundary if the name of the
/// thread is valid UTF-8. Shorter names are padded with zeros.
///
/// Each allocation of a buffer needs such a name. It is put together in two words therefore, where
/// no character can be split.
///
/// # Examples
///
/// ```
/// use crate::decisions::default_name::default_name;
///
/// assert_eq!(default_name(17, *b"camera\0\0\0\0\0\0\0\0\0\0"), *b"17-camera\0\0\0\0\0\0\0");
/// assert_eq!(default_name(4194304, *b"a-long-thread--\0"), *b"4194304-a-long-t");
/// ```
#[inline]
pub(crate) fn default_name(pid: u32, thread: [u8; 16]) -> [u8; LEN] {
    let thread_name = u128::from_le_bytes(thread);
    let (low, high) = (thread_name as u64, (thread_name >> 64) as u64);
    if (low | high) & NOT_ASCII != 0 || pid >= 10_u32.pow(MAX_DIGITS) {
        return put_together(pid, &thread);
    }
    // The lowest byte is the first one.
    let (mut first, mut bits, mut rest) = (u64::from(b'-'), 8, pid);
    loop {
        first = (first << 8) | u64::from(b'0') | u64::from(rest % 10);
        bits += 8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // `bits` is 16 to 64.
    let second = (low >> (64 - bits)) | high.checked_shl(bits).unwrap_or(0);
    first |= low.checked_shl(bits).unwrap_or(0);
    ((u128::from(second) << 64) | u128::from(first)).to_le_bytes()
}

/// Returns the name, whatever it consists of.
#[cold]
fn put_together(pid: u32, thread: &[u8]) -> [u8; LEN] {
    let mut text = Text::<{ LEN + 1 }>::new();
    text.push_bytes(Digits::decimal(pid.into()).as_bytes());
    text.push_bytes(b"-");
    text.push_bytes(until_nul(thread));
    let mut name = [0; LEN];
    for (to, from) in name.iter_mut().zip(text.as_bytes()) {
        *to = *from;
    }
    name
}
