// SPDX-License-Identifier: GPL-2.0

//! The generator: every call is made from it alone, so a seed and a process number stand for a
//! sequence of calls.

use guest_support::page_size;
use rand::{
    Rng,
    RngCore, //
};
use rand_pcg::Pcg32;

/// A process's own generator.
#[derive(Clone, Debug)]
pub struct Random(Pcg32);

/// A length or an offset. Pages are counted and not bytes, because the kernel decides how large
/// they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Bytes(u64),
    Pages { pages: u32, more: i8 },
}

impl Length {
    /// In bytes, on this machine.
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
    /// The generator of process `process`: the seed is the state, the process chooses the stream.
    pub fn new(seed: u64, process: u64) -> Self {
        Random(Pcg32::new(seed, process))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end)
    }

    /// A number below 256: which of several things, counted round.
    pub fn index(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, of which there are some.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// One of `choices`, as often as its weight says.
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

    /// Some of `flags`, mostly few of them.
    pub fn flags(&mut self, flags: &[i32]) -> i32 {
        let some = self.below(3);
        (0..some).fold(0, |all, _| all | self.pick(flags))
    }

    /// A number of the kind that programs get wrong: near a power of two, near the end, or any.
    pub fn odd(&mut self) -> u64 {
        match self.below(5) {
            0 => self.pick(&[0, 1, 2, 3, 4, 7, 8]),
            1 => (1u64 << self.below(64)).wrapping_add(u64::from(self.below(3)).wrapping_sub(1)),
            2 => u64::MAX - u64::from(self.below(5000)),
            3 => u64::from(self.below(100_000)),
            _ => self.number(),
        }
    }

    /// A length that a buffer could have, up to `most` pages; small ones are likelier.
    pub fn length(&mut self, most: u32) -> Length {
        let bits = self.below(u32::BITS - most.leading_zeros()) + 1;
        Length::Pages {
            pages: (1 + self.below(1 << bits)).min(most),
            more: self.pick(&[0, 0, 0, -1, 1, 8, -100]),
        }
    }

    /// A length or an offset that may be as wrong as any.
    pub fn odd_length(&mut self) -> Length {
        if self.chance(50) {
            Length::Bytes(self.odd())
        } else {
            self.length(64)
        }
    }
}
