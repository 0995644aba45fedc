// SPDX-License-Identifier: GPL-2.0

//! Lines of a sequence file, put together byte by byte. A formatted print costs thousands of
//! instructions a line; lists of many lines are to cost little.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use crate::decisions::{
    digits::Digits,
    text::{
        self,
        Column,
        Field, //
    }, //
};
use core::{
    fmt::Write,
    ptr, //
};
use kernel::{
    bindings,
    seq_file::SeqFile, //
};

/// What a column is filled up with, so much at a time.
const SPACES: &[u8] = &[b' '; 32];
const ZEROS: &[u8] = &[b'0'; 32];

/// Prints into a sequence file.
pub(crate) struct Output<'a> {
    file: &'a SeqFile,
}

impl<'a> Output<'a> {
    pub(crate) fn new(file: &'a SeqFile) -> Self {
        Self { file }
    }

    /// Prints `text` as it is. Where there is no room left, the sequence file asks for everything
    /// again, with more.
    pub(crate) fn bytes(&mut self, text: &[u8]) {
        let file: *mut bindings::seq_file = ptr::from_ref(self.file).cast_mut().cast();
        // SAFETY: The type is nothing but the C structure, which is this thread's while it prints.
        // It has `size` bytes at `buf`, of which `count` are used; `count == size` says that there
        // was no room.
        unsafe {
            let room = (*file).size.saturating_sub((*file).count);
            if text.len() < room {
                let to = (*file).buf.add((*file).count).cast();
                ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
                (*file).count += text.len();
            } else {
                (*file).count = (*file).size;
            }
        }
    }

    fn fill(&mut self, with: &[u8], count: usize) {
        let mut left = count;
        while left > 0 {
            let part = left.min(with.len());
            self.bytes(with.get(..part).unwrap_or_default());
            left -= part;
        }
    }

    /// Prints `text`, and spaces until `width` bytes are there. What would break a line is printed
    /// as `?`.
    pub(crate) fn column(&mut self, text: &[u8], width: usize) {
        if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.bytes(text);
            self.fill(SPACES, width.saturating_sub(text.len()));
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
        if !text.is_empty() && text.iter().all(|byte| text::is_plain(*byte)) {
            self.bytes(text);
        } else {
            // Writing to this never fails.
            let _ = self.write_fmt(format_args!("{}", Field(text)));
        }
    }

    /// Prints `number`, which a formatted print of a `u64` may not do: where a processor cannot
    /// divide 64 bits, the kernel makes that a panic. There are spaces before it until there are
    /// `width` characters.
    pub(crate) fn decimal(&mut self, number: u64, width: usize) {
        // Most of the numbers in a list.
        if number < 10 {
            self.fill(SPACES, width.saturating_sub(1));
            return self.bytes(&[b'0' + number as u8]);
        }
        let digits = Digits::decimal(number);
        self.fill(SPACES, width.saturating_sub(digits.as_bytes().len()));
        self.bytes(digits.as_bytes());
    }

    /// Prints `0x` and `number` in at least `width` digits.
    pub(crate) fn hexadecimal(&mut self, number: u64, width: usize) {
        let digits = Digits::hexadecimal(number);
        self.bytes(b"0x");
        self.fill(ZEROS, width.saturating_sub(digits.as_bytes().len()));
        self.bytes(digits.as_bytes());
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
