// SPDX-License-Identifier: GPL-2.0

//! The random number generator. Calls are generated from it alone, so a seed and a process number
//! determine a sequence of calls.

use guest_support::page_size;
use rand::{
    Rng,
    RngCore, //
};
use rand_pcg::Pcg32;

/// The generator of a process.
#[derive(Clone, Debug)]
pub struct Random(Pcg32);

/// A length or an offset. It is expressed in pages, because the page size depends on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Bytes(u64),
    Pages { pages: u32, more: i8 },
}

impl Length {
    /// Returns the length in bytes on this machine.
    pub fn bytes(self) -> u64 {
        match self {
            Length::Bytes(bytes) => bytes,
            Length::Pages { pages, more } => {
                (u64::from(pages) * page_size() as u64).wrapping_add_signed(more.into())
            }
        }
    }
}

impl Random {
    /// Creates the generator of a process: `seed` is the state, `process` selects the stream.
    pub fn new(seed: u64, process: u64) -> Self {
        Random(Pcg32::new(seed, process))
    }

    /// Returns any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end)
    }

    /// Returns an index below 256; users take it modulo the number of objects.
    pub fn index(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// Returns true with a probability of `percent` percent.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Returns one of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// Returns one of `choices` with a probability proportional to its weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *choice,
            }
        }
        unreachable!("the weights add up")
    }

    /// Returns a combination of at most two of `flags`.
    pub fn flags(&mut self, flags: &[i32]) -> i32 {
        let some = self.below(3);
        (0..some).fold(0, |all, _| all | self.pick(flags))
    }

    /// Returns a number that often exposes errors: small, near a power of two, near the maximum, or
    /// any.
    pub fn boundary_value(&mut self) -> u64 {
        match self.below(5) {
            0 => self.pick(&[0, 1, 2, 3, 4, 7, 8]),
            1 => (1u64 << self.below(64)).wrapping_add(u64::from(self.below(3)).wrapping_sub(1)),
            2 => u64::MAX - u64::from(self.below(5000)),
            3 => u64::from(self.below(100_000)),
            _ => self.number(),
        }
    }

    /// Returns a possible length of a buffer of up to `most` pages; small ones are more likely.
    pub fn length(&mut self, most: u32) -> Length {
        let bits = self.below(u32::BITS - most.leading_zeros()) + 1;
        Length::Pages {
            pages: (1 + self.below(1 << bits)).min(most),
            more: self.pick(&[0, 0, 0, -1, 1, 8, -100]),
        }
    }

    /// Returns any length or offset, including invalid ones.
    pub fn boundary_length(&mut self) -> Length {
        if self.chance(50) {
            Length::Bytes(self.boundary_value())
        } else {
            self.length(64)
        }
    }
}
