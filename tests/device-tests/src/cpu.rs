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
use std::ops::Range;

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

/// Checks that the bytes in these pieces of the buffer are those of `inside`, and that all others
/// are those of `outside`, or zero. The pieces are in order, and begin at multiples of the word
/// size.
pub fn check(
    buffer: &Buffer,
    mapping: &Mapping,
    pieces: &[Range<usize>],
    inside: Pattern,
    outside: Option<Pattern>,
) -> Result<()> {
    buffer.sync(SYNC_START | SYNC_READ)?;
    let result = check_words(mapping, pieces, inside, outside);
    buffer.sync(SYNC_END | SYNC_READ)?;
    result.context("what the CPU reads")
}

fn check_words(
    mapping: &Mapping,
    pieces: &[Range<usize>],
    inside: Pattern,
    outside: Option<Pattern>,
) -> Result<()> {
    let mut done = 0;
    for piece in pieces {
        check_outside(mapping, done..piece.start, outside)?;
        let end = piece.end - piece.end % WORD;
        mapping.check_range(piece.start, end - piece.start, inside, 0)?;
        done = end;
        if end < piece.end {
            // A word with bytes of both.
            let mut expected = outside.map_or(0, |pattern| pattern.word(end)).to_ne_bytes();
            let part = piece.end - end;
            expected[..part].copy_from_slice(&inside.word(end).to_ne_bytes()[..part]);
            let (found, expected) = (mapping.read(end), u64::from_ne_bytes(expected));
            ensure!(
                found == expected,
                "byte {end:#x} holds {found:#018x}, expected {expected:#018x}"
            );
            done = end + WORD;
        }
    }
    check_outside(mapping, done..mapping.len(), outside)
}

fn check_outside(mapping: &Mapping, range: Range<usize>, pattern: Option<Pattern>) -> Result<()> {
    match pattern {
        Some(pattern) => mapping.check_range(range.start, range.len(), pattern, 0),
        None => mapping.check_zero_range(range.start, range.len()),
    }
}
