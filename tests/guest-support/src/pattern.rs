// SPDX-License-Identifier: GPL-2.0

//! Contents by which every word of a buffer can be told from every other.

/// A sequence of words, each made from its place and a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern(pub u64);

impl Pattern {
    /// The word at byte `offset`, which is a multiple of a word's size. Never zero, so that fresh
    /// memory is never taken for it.
    pub fn word(self, offset: usize) -> u64 {
        let place = offset as u64;
        // Odd multipliers spread neighbours over all bits.
        (place ^ self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd134_2543_de82_ef95) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_differ_by_place_and_seed() {
        let places: HashSet<u64> = (0..100_000).map(|i| Pattern(1).word(i * 8)).collect();
        assert_eq!(places.len(), 100_000);
        assert!(!places.contains(&0));
        assert_ne!(Pattern(1).word(0), Pattern(2).word(0));
    }
}
