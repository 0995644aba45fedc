// SPDX-License-Identifier: GPL-2.0

//! The digits of numbers. The formatting of `core` costs several hundred instructions a number.

/// The digits of a number.
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
    /// They are found last first, so they stand at the end.
    digits: [u8; Self::MOST],
    unused: usize,
}

impl Digits {
    /// As many as the largest number has.
    const MOST: usize = 20;

    const NONE: Self = Self {
        digits: [0; Self::MOST],
        unused: Self::MOST,
    };

    /// Those of `number` to the base of 10.
    #[inline]
    pub(crate) fn decimal(number: u64) -> Self {
        let mut digits = Self::NONE;
        let mut left = number;
        // A 32-bit machine divides what is longer by a function of the kernel's.
        let mut short = loop {
            match u32::try_from(left) {
                Ok(short) => break short,
                Err(_) => {
                    let tenth = tenth(left);
                    digits.push((left - tenth * 10) as u8);
                    left = tenth;
                }
            }
        };
        loop {
            digits.push((short % 10) as u8);
            short /= 10;
            if short == 0 {
                return digits;
            }
        }
    }

    /// Those of `number` to the base of 16, in lower case.
    #[inline]
    pub(crate) fn hexadecimal(mut number: u64) -> Self {
        let mut digits = Self::NONE;
        loop {
            digits.push((number & 0xf) as u8);
            number >>= 4;
            if number == 0 {
                return digits;
            }
        }
    }

    /// Puts a digit, which is below 16, before those that are there.
    #[inline]
    fn push(&mut self, digit: u8) {
        self.unused = self.unused.saturating_sub(1);
        if let Some(place) = self.digits.get_mut(self.unused) {
            *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        }
    }

    /// The digits, in ASCII.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.unused..).unwrap_or_default()
    }
}

/// Returns `number / 10`.
#[inline]
fn tenth(number: u64) -> u64 {
    if cfg!(target_pointer_width = "64") {
        number / 10
    } else {
        tenth_by_words(number)
    }
}

/// Returns `number / 10` by long division in words of 16 bits: 32-bit kernels have no 64-bit division.
pub(crate) fn tenth_by_words(number: u64) -> u64 {
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
