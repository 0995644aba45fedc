// SPDX-License-Identifier: GPL-2.0

//! What a buffer has to contain: zeroes when it is new, and afterwards what its process wrote.

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

/// Up to this many bytes a buffer is written whole; of a larger one the beginning of each page.
const WHOLE: usize = 64 << 10;

/// How much of a page is written then.
const BEGINNING: usize = 8 * WORD;

/// What every word of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    pattern: Option<Pattern>,
    whole: bool,
}

impl Contents {
    /// As it is handed out.
    pub const ZERO: Contents = Contents {
        pattern: None,
        whole: true,
    };

    /// What is written into a buffer of `size` bytes.
    pub fn of(seed: u64, size: usize) -> Contents {
        Contents {
            pattern: Some(Pattern(seed)),
            whole: size <= WHOLE,
        }
    }

    fn written(self, offset: usize) -> Option<Pattern> {
        self.pattern
            .filter(|_| self.whole || offset % page_size() < BEGINNING)
    }

    /// The word at byte `offset` of the buffer.
    pub fn word(self, offset: usize) -> u64 {
        self.written(offset)
            .map_or(0, |pattern| pattern.word(offset))
    }

    /// A page of the buffer.
    pub fn page(self, number: usize) -> Vec<u8> {
        let start = number * page_size();
        (start..start + page_size())
            .step_by(WORD)
            .flat_map(|offset| self.word(offset).to_ne_bytes())
            .collect()
    }

    /// Writes a mapping of the whole buffer.
    pub fn fill(self, mapping: &Mapping) {
        let step = if self.whole { WORD } else { page_size() };
        let some = if self.whole { WORD } else { BEGINNING };
        for start in (0..mapping.len()).step_by(step) {
            for offset in (start..start + some).step_by(WORD) {
                mapping.write(offset, self.word(offset));
            }
        }
    }

    /// Checks a mapping that begins with byte `base` of the buffer.
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
        for size in [page, WHOLE + page] {
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
