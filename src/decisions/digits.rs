// SPDX-License-Identifier: GPL-2.0

//! Conversion of numbers to digits.
//!
//! `core::fmt` needs several hundred instructions per number.

/// The digits of a number in ASCII.
///
/// # Examples
///
/// ```
/// use crate::decisions::digits::Digits;
///
/// assert_eq!(Digits::decimal(4096).as_bytes(), b"4096");
/// assert_eq!(Digits::hexadecimal(4096).as_bytes(), b"1000");
/// ```
pub(crate) struct Digits {
    /// The digits are at the end of the array, because the last digit is computed first.
    digits: [u8; Self::CAPACITY],
    unused: usize,
}

const _: () = assert!(Digits::CAPACITY == u64::MAX.ilog10() as usize + 1);

impl Digits {
    /// The number of decimal digits of `u64::MAX`.
    const CAPACITY: usize = 20;

    const EMPTY: Self = Self {
        digits: [0; Self::CAPACITY],
        unused: Self::CAPACITY,
    };

    /// Converts `number` to base 10.
    #[inline]
    pub(crate) fn decimal(number: u64) -> Self {
        let mut digits = Self::EMPTY;
        let mut left = number;
        // Only numbers above `u32::MAX` need a 64-bit division.
        let mut left32 = loop {
            match u32::try_from(left) {
                Ok(left32) => break left32,
                Err(_) => {
                    let quotient = div10(left);
                    digits.push((left - quotient * 10) as u8);
                    left = quotient;
                }
            }
        };
        while left32 >= 100 {
            digits.push_pair(left32 % 100);
            left32 /= 100;
        }
        if left32 >= 10 {
            digits.push_pair(left32);
        } else {
            digits.push(left32 as u8);
        }
        digits
    }

    /// Converts `number` to base 16, in lower case.
    #[inline]
    pub(crate) fn hexadecimal(mut number: u64) -> Self {
        let mut digits = Self::EMPTY;
        loop {
            digits.push((number & 0xf) as u8);
            number >>= 4;
            if number == 0 {
                return digits;
            }
        }
    }

    /// Prepends `digit`, which is below 16.
    #[inline]
    fn push(&mut self, digit: u8) {
        self.unused = self.unused.saturating_sub(1);
        if let Some(slot) = self.digits.get_mut(self.unused) {
            *slot = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        }
    }

    /// Prepends the two digits of `number`, which is below 100.
    #[inline]
    fn push_pair(&mut self, number: u32) {
        static PAIRS: [[u8; 2]; 100] = {
            let mut pairs = [[0; 2]; 100];
            let mut number = 0;
            while number < pairs.len() {
                pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
                number += 1;
            }
            pairs
        };
        self.unused = self.unused.saturating_sub(2);
        let slot = self.digits.get_mut(self.unused..);
        let slot = slot.and_then(|digits| digits.first_chunk_mut());
        if let (Some(slot), Some(pair)) = (slot, PAIRS.get(number as usize)) {
            *slot = *pair;
        }
    }

    /// Returns the digits in ASCII.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.unused..).unwrap_or_default()
    }
}

/// Returns `number / 10`.
#[inline]
fn div10(number: u64) -> u64 {
    if cfg!(target_pointer_width = "64") {
        number / 10
    } else {
        div10_by_words(number)
    }
}

/// Returns `number / 10` by long division with 16-bit digits. 32-bit kernels have no 64-bit
/// division.
pub(crate) fn div10_by_words(number: u64) -> u64 {
    let (high, low) = ((number >> 32) as u32, number as u32);
    let mut remainder = 0;
    let mut divide = |word: u32| {
        let dividend = (remainder << 16) | word;
        remainder = dividend % 10;
        dividend / 10
    };
    let high = (divide(high >> 16) << 16) | divide(high & 0xffff);
    let low = (divide(low >> 16) << 16) | divide(low & 0xffff);
    (u64::from(high) << 32) | u64::from(low)
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_digits)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (number, digits) in [
            (0, "0"),
            (9, "9"),
            (10, "10"),
            (99, "99"),
            (100, "100"),
            (1234, "1234"),
            (12305, "12305"),
            (4294967295, "4294967295"),
            (4294967296, "4294967296"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(Digits::decimal(number).as_bytes(), digits.as_bytes());
        }
    }

    #[test]
    fn hexadecimals_are_exact() {
        for (number, digits) in [
            (0, "0"),
            (0x9f, "9f"),
            (0x1000_0000_0000_0000, "1000000000000000"),
            (u64::MAX, "ffffffffffffffff"),
        ] {
            assert_eq!(Digits::hexadecimal(number).as_bytes(), digits.as_bytes());
        }
    }
}
