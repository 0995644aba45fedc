// SPDX-License-Identifier: GPL-2.0

//! Test patterns in which every word of a buffer is different.

/// A sequence of words, each computed from its offset and a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern(pub u64);

impl Pattern {
    /// Returns the word at byte `offset`, which is a multiple of the word size. Never zero, so it
    /// differs from newly allocated memory.
    pub fn word(self, offset: usize) -> u64 {
        let seed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Odd multipliers distribute adjacent offsets over all bits.
        (offset as u64 ^ seed).wrapping_mul(0xd134_2543_de82_ef95) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_differ_by_offset_and_seed() {
        let words: HashSet<u64> = (0..100_000).map(|i| Pattern(1).word(i * 8)).collect();
        assert_eq!(words.len(), 100_000);
        assert!(!words.contains(&0));
        assert_ne!(Pattern(1).word(0), Pattern(2).word(0));
    }
}
