// SPDX-License-Identifier: GPL-2.0

//! The CPU's side: what it reads and writes, between the syncs that programs have to make.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::{
    Buffer,
    SYNC_END,
    SYNC_READ,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::mapping::{
    Mapping,
    WORD, //
};
use guest_support::pattern::Pattern;

/// Returns the bytes of a pattern from its byte `offset` on, which is a multiple of the word size.
pub fn bytes(pattern: Pattern, offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.next_multiple_of(WORD));
    for word in (0..length).step_by(WORD) {
        bytes.extend_from_slice(&pattern.word(offset + word).to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Checks that two runs of bytes are equal.
pub fn compare(who: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let wrong = || {
        let pairs = found.iter().zip(expected).enumerate();
        pairs.filter(|(_, (found, expected))| found != expected)
    };
    let first = wrong().next().map(|(at, (found, expected))| {
        format!("the first at {at:#x}: {found:#04x} instead of {expected:#04x}")
    });
    anyhow::bail!(
        "{who}: {} of {} bytes are wrong, {}",
        wrong().count(),
        expected.len(),
        first.unwrap_or_else(|| format!("{} bytes are there", found.len()))
    );
}

/// Fills the whole buffer.
pub fn fill(buffer: &Buffer, mapping: &Mapping, pattern: Pattern) -> Result<()> {
    buffer.sync(SYNC_START | SYNC_WRITE)?;
    mapping.fill(pattern, 0);
    buffer.sync(SYNC_END | SYNC_WRITE).context("the sync")
}

/// Checks that the first `length` bytes of the buffer are those of `inside`, and that all others
/// are those of `outside`, or zero.
pub fn check(
    buffer: &Buffer,
    mapping: &Mapping,
    length: usize,
    inside: Pattern,
    outside: Option<Pattern>,
) -> Result<()> {
    buffer.sync(SYNC_START | SYNC_READ)?;
    let result = check_words(mapping, length, inside, outside);
    buffer.sync(SYNC_END | SYNC_READ)?;
    result.context("what the CPU reads")
}

fn check_words(
    mapping: &Mapping,
    length: usize,
    inside: Pattern,
    outside: Option<Pattern>,
) -> Result<()> {
    let begin = length - length % WORD;
    let end = length.next_multiple_of(WORD);
    mapping.check_range(0, begin, inside, 0)?;
    if begin < end {
        // A word with bytes of both.
        let behind = outside.map_or(0, |pattern| pattern.word(begin));
        let mut expected = behind.to_ne_bytes();
        let part = length - begin;
        expected[..part].copy_from_slice(&inside.word(begin).to_ne_bytes()[..part]);
        let found = mapping.read(begin);
        ensure!(
            found == u64::from_ne_bytes(expected),
            "byte {begin:#x} holds {found:#018x}, expected {:#018x}",
            u64::from_ne_bytes(expected)
        );
    }
    let rest = mapping.len() - end;
    match outside {
        Some(pattern) => mapping.check_range(end, rest, pattern, 0),
        None => mapping.check_zero_range(end, rest),
    }
}
