// SPDX-License-Identifier: GPL-2.0

//! Lines of a sequence file, put together byte by byte. A formatted print costs thousands of instructions a line; lists of
//! many lines are to cost little.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use crate::{
    bindings as c,
    text::{self, Column, Field},
};
use core::{fmt::Write, ptr};
use kernel::seq_file::SeqFile;

const SPACES: [u8; ROOM] = [b' '; ROOM];
const ZEROS: [u8; ROOM] = [b'0'; ROOM];

/// How much is collected before the sequence file gets it.
const ROOM: usize = 256;

/// What is printed into a sequence file. The rest of it gets there when this is dropped.
///
/// # Invariants
///
/// `len <= ROOM`
pub(crate) struct Output<'a> {
    file: &'a SeqFile,
    bytes: [u8; ROOM],
    len: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(file: &'a SeqFile) -> Self {
        // INVARIANT: Nothing is collected.
        Self {
            file,
            bytes: [0; ROOM],
            len: 0,
        }
    }

    fn flush(&mut self) {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        // SAFETY: The type is nothing but the C structure, which is this thread's. The bytes are valid.
        unsafe {
            c::seq_write(
                ptr::from_ref(self.file).cast_mut().cast(),
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        };
        // INVARIANT: Nothing is collected.
        self.len = 0;
    }

    /// Prints `text` as it is.
    pub(crate) fn bytes(&mut self, mut text: &[u8]) {
        loop {
            let room = self.bytes.get_mut(self.len..).unwrap_or_default();
            let count = room.len().min(text.len());
            if let (Some(to), Some(from)) = (room.get_mut(..count), text.get(..count)) {
                to.copy_from_slice(from);
            }
            // INVARIANT: No more than there was room for.
            self.len += count;
            text = text.get(count..).unwrap_or_default();
            if text.is_empty() {
                return;
            }
            self.flush();
        }
    }

    fn fill(&mut self, bytes: &[u8; ROOM], count: usize) {
        let mut left = count;
        while left > 0 {
            let part = left.min(ROOM);
            self.bytes(bytes.get(..part).unwrap_or_default());
            left -= part;
        }
    }

    /// Prints `text`, and spaces until `width` bytes are there. What would break a line is printed as `?`.
    pub(crate) fn column(&mut self, text: &[u8], width: usize) {
        if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.bytes(text);
            self.fill(&SPACES, width.saturating_sub(text.len()));
        } else {
            // Writing to this never fails.
            let _ = self.write_fmt(format_args!("{:<width$}", Column(text)));
        }
    }

    /// As [`Output::column`], cut to `width` bytes.
    pub(crate) fn cut_column(&mut self, text: &[u8], width: usize) {
        self.column(text::cut(text, width), width);
    }

    /// Prints `text` so that it holds no space and no separator.
    pub(crate) fn field(&mut self, text: &[u8]) {
        let plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'\\' | b',' | b':');
        if !text.is_empty() && text.iter().all(plain) {
            self.bytes(text);
        } else {
            // Writing to this never fails.
            let _ = self.write_fmt(format_args!("{}", Field(text)));
        }
    }

    /// Prints `number`, with spaces before it until there are `width` characters.
    pub(crate) fn decimal(&mut self, number: u64, width: usize) {
        self.digits(number, 10, &SPACES, width);
    }

    /// Prints `0x` and `number` in at least `digits` digits.
    pub(crate) fn hexadecimal(&mut self, number: u64, digits: usize) {
        self.bytes(b"0x");
        self.digits(number, 16, &ZEROS, digits);
    }

    fn digits(&mut self, mut number: u64, base: u32, fill: &[u8; ROOM], width: usize) {
        // As many as the largest number has.
        let mut digits = [0; 20];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            // A 32-bit machine divides such numbers by a function of the kernel's.
            // SAFETY: The base is not zero.
            let rest = unsafe { c::div_u64(number, base) };
            // Below 16.
            let value = (number - rest * u64::from(base)) as u8;
            *digit = match value {
                0..=9 => b'0' + value,
                _ => b'a' + (value - 10),
            };
            number = rest;
            count += 1;
            if number == 0 {
                break;
            }
        }
        self.fill(fill, width.saturating_sub(count));
        self.bytes(digits.get(20 - count..).unwrap_or_default());
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
