// SPDX-License-Identifier: GPL-2.0

//! Output to a sequence file without formatting, for files with many lines.
//!
//! `seq_printf()` with a Rust format costs thousands of instructions per line.
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

/// Padding, which is written in pieces of at most this length.
const SPACES: &[u8] = &[b' '; 32];
const ZEROS: &[u8] = &[b'0'; 32];

/// Writes to a sequence file.
///
/// If the buffer of the sequence file is full, further output is discarded. The sequence file then
/// calls the printing function again with a larger buffer.
///
/// # Examples
///
/// ```
/// use crate::abstractions::proc_file::{Directory, Show};
/// use crate::abstractions::seq_output::Output;
/// use kernel::seq_file::SeqFile;
///
/// /// Prints `    42 name   0x00ff`.
/// struct Row;
///
/// #[vtable]
/// impl Show for Row {
///     fn show(&self, file: &SeqFile) -> Result {
///         let mut output = Output::new(file);
///         output.decimal(42, 6);
///         output.bytes(b" ");
///         output.column(b"name", 7);
///         output.hexadecimal(0xff, 4);
///         output.bytes(b"\n");
///         Ok(())
///     }
/// }
///
/// let mut directory = Directory::new(c"rk_dma_heap_example_output")?;
/// directory.add(c"row", 0o444, Row)?;
/// ```
pub(crate) struct Output<'a> {
    file: &'a SeqFile,
}

impl<'a> Output<'a> {
    /// Creates an output to `file`.
    pub(crate) fn new(file: &'a SeqFile) -> Self {
        Self { file }
    }

    /// Writes `text` unchanged.
    pub(crate) fn bytes(&mut self, text: &[u8]) {
        let file: *mut bindings::seq_file = ptr::from_ref(self.file).cast_mut().cast();
        // SAFETY: `SeqFile` is a transparent wrapper of the C structure, which no other thread
        // accesses while a reference to it exists. `buf` has `size` bytes, of which `count` are in
        // use, so `text` fits. `count == size` marks an overflow.
        unsafe {
            let free = (*file).size.saturating_sub((*file).count);
            if text.len() < free {
                let to = (*file).buf.add((*file).count).cast();
                ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
                (*file).count += text.len();
            } else {
                (*file).count = (*file).size;
            }
        }
    }

    /// Writes `count` bytes of `padding`, which is repeated as often as needed.
    fn pad(&mut self, padding: &[u8], count: usize) {
        let mut left = count;
        while left > 0 {
            let length = left.min(padding.len());
            self.bytes(padding.get(..length).unwrap_or_default());
            left -= length;
        }
    }

    /// Writes `text`, padded with spaces to `width` bytes. Control characters and invalid UTF-8 are
    /// written as `?`.
    pub(crate) fn column(&mut self, text: &[u8], width: usize) {
        if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.bytes(text);
            self.pad(SPACES, width.saturating_sub(text.len()));
        } else {
            // `write_str()` below never fails.
            let _ = self.write_fmt(format_args!("{:<width$}", Column(text)));
        }
    }

    /// Writes `text` as [`Output::column`] does, truncated to `width` bytes.
    pub(crate) fn truncated_column(&mut self, text: &[u8], width: usize) {
        self.column(text::truncate(text, width), width);
    }

    /// Writes `text` as a [`Field`], which contains no spaces and no separators.
    pub(crate) fn field(&mut self, text: &[u8]) {
        if !text.is_empty() && text.iter().all(|byte| text::is_plain(*byte)) {
            self.bytes(text);
        } else {
            // `write_str()` below never fails.
            let _ = self.write_fmt(format_args!("{}", Field(text)));
        }
    }

    /// Writes `number`, padded with spaces on the left to `width` bytes.
    ///
    /// Works on all CPUs. Formatting a `u64` with `core::fmt` panics in 32-bit kernels, which have
    /// no 64-bit division.
    pub(crate) fn decimal(&mut self, number: u64, width: usize) {
        // Most numbers in lists have one digit.
        if number < 10 {
            self.pad(SPACES, width.saturating_sub(1));
            return self.bytes(&[b'0' + number as u8]);
        }
        let digits = Digits::decimal(number);
        self.pad(SPACES, width.saturating_sub(digits.as_bytes().len()));
        self.bytes(digits.as_bytes());
    }

    /// Writes `0x` and `number` with at least `width` digits.
    pub(crate) fn hexadecimal(&mut self, number: u64, width: usize) {
        let digits = Digits::hexadecimal(number);
        self.bytes(b"0x");
        self.pad(ZEROS, width.saturating_sub(digits.as_bytes().len()));
        self.bytes(digits.as_bytes());
    }

    /// Writes `number` with at least `width` digits, in upper case and without `0x`.
    pub(crate) fn upper_hexadecimal(&mut self, number: u64, width: usize) {
        let digits = Digits::hexadecimal(number);
        self.pad(ZEROS, width.saturating_sub(digits.as_bytes().len()));
        for digit in digits.as_bytes() {
            self.bytes(&[digit.to_ascii_uppercase()]);
        }
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
