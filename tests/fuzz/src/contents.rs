// SPDX-License-Identifier: GPL-2.0

//! The expected contents of a buffer: zeroes after allocation, then the pattern that its process
//! has written.

use anyhow::{
    ensure,
    Result, //
};
use guest_support::mapping::{
    Mapping,
    WORD, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;

/// Buffers up to this size are filled completely, larger ones only at the start of each page. In
/// bytes.
const FULL_FILL_LIMIT: usize = 64 << 10;

/// Number of bytes that are filled in each page of a larger buffer.
const PAGE_PREFIX: usize = 8 * WORD;

/// The expected value of each word of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    pattern: Option<Pattern>,
    is_full: bool,
}

impl Contents {
    /// The contents of a new buffer.
    pub const ZERO: Contents = Contents {
        pattern: None,
        is_full: true,
    };

    /// Returns the contents to write into a buffer of `size` bytes.
    pub fn of(seed: u64, size: usize) -> Contents {
        Contents {
            pattern: Some(Pattern(seed)),
            is_full: size <= FULL_FILL_LIMIT,
        }
    }

    fn pattern_at(self, offset: usize) -> Option<Pattern> {
        self.pattern
            .filter(|_| self.is_full || offset % page_size() < PAGE_PREFIX)
    }

    /// Returns the word at byte `offset` of the buffer.
    pub fn word(self, offset: usize) -> u64 {
        self.pattern_at(offset)
            .map_or(0, |pattern| pattern.word(offset))
    }

    /// Returns the contents of a page of the buffer.
    pub fn page(self, number: usize) -> Vec<u8> {
        let start = number * page_size();
        (start..start + page_size())
            .step_by(WORD)
            .flat_map(|offset| self.word(offset).to_ne_bytes())
            .collect()
    }

    /// Writes the contents to a mapping of the complete buffer.
    pub fn fill(self, mapping: &Mapping) {
        let step = if self.is_full { WORD } else { page_size() };
        let some = if self.is_full { WORD } else { PAGE_PREFIX };
        for start in (0..mapping.len()).step_by(step) {
            for offset in (start..start + some).step_by(WORD) {
                mapping.write(offset, self.word(offset));
            }
        }
    }

    /// Checks a mapping that starts at byte `base` of the buffer.
    pub fn check(self, mapping: &Mapping, base: usize) -> Result<()> {
        for offset in (0..mapping.len()).step_by(WORD) {
            let (found, expected) = (mapping.read(offset), self.word(base + offset));
            ensure!(
                found == expected,
                "byte {:#x} of the buffer holds {found:#018x}, expected {expected:#018x}",
                base + offset
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_and_nothing_else() {
        let page = page_size();
        for size in [page, FULL_FILL_LIMIT + page] {
            let mapping = Mapping::anonymous(size).unwrap();
            Contents::ZERO.check(&mapping, 0).unwrap();
            let contents = Contents::of(7, size);
            contents.fill(&mapping);
            contents.check(&mapping, 0).unwrap();
            assert_eq!(contents.page(0), mapping.copy_out(0, page));
            assert!(Contents::ZERO.check(&mapping, 0).is_err());
            assert!(Contents::of(8, size).check(&mapping, 0).is_err());
            assert!(contents.check(&mapping, page).is_err());
            mapping.write(page - WORD, 1);
            assert!(contents.check(&mapping, 0).is_err());
        }
    }
}
