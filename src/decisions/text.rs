// SPDX-License-Identifier: GPL-2.0

//! Sanitising text for output. Programs choose the names of threads and buffers freely.

use core::fmt::{
    self,
    Display,
    Write, //
};

/// A buffer for text of fewer than `N` bytes.
///
/// Text that does not fit is truncated, at a character boundary if it is valid UTF-8.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::Text;
/// use core::fmt::Write;
///
/// let mut text = Text::<8>::new();
/// write!(text, "{}-", 1234)?;
/// text.push(b"thread");
/// assert_eq!(text.as_bytes(), b"1234-th");
/// ```
///
/// # Invariants
///
/// `len < N`, and the bytes from `len` on are zero.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Creates an empty buffer.
    pub(crate) const fn new() -> Self {
        const { assert!(N > 0) };
        // INVARIANT: `0 < N`, and all bytes are zero.
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Appends `text` up to its first zero byte, truncated to the free capacity.
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.push_bytes(until_nul(text));
    }

    /// Appends `text`, which must not contain a zero byte, truncated to the free capacity.
    #[inline]
    pub(crate) fn push_bytes(&mut self, text: &[u8]) {
        debug_assert!(!text.contains(&0));
        let text = truncate(text, N - 1 - self.len);
        if let Some(free) = self.bytes.get_mut(self.len..self.len + text.len()) {
            free.copy_from_slice(text);
        }
        // INVARIANT: At most `N - 1 - len` bytes were appended.
        self.len += text.len();
    }

    /// Returns the bytes of the text, none of which is zero.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Returns the longest prefix of `text` that has at most `max_len` bytes and does not end inside a
/// character.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::truncate;
///
/// assert_eq!(truncate("naïve".as_bytes(), 3), b"na");
/// ```
#[inline]
pub(crate) fn truncate(text: &[u8], max_len: usize) -> &[u8] {
    let prefix = match text.get(..max_len) {
        Some(prefix) if prefix.len() < text.len() => prefix,
        _ => return text,
    };
    match core::str::from_utf8(prefix) {
        // The last character is incomplete.
        Err(error) if error.error_len().is_none() => {
            prefix.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => prefix,
    }
}

/// Formats text for a column: control characters and invalid UTF-8 become `?`.
///
/// The width of the format, as in `{:<16}`, is the minimum length in bytes.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::{Column, Text};
/// use core::fmt::Write;
///
/// let mut text = Text::<8>::new();
/// write!(text, "{:<5}|", Column(b"a\nb"))?;
/// assert_eq!(text.as_bytes(), b"a?b  |");
/// ```
pub(crate) struct Column<'a>(pub(crate) &'a [u8]);

impl Display for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = 0;
        for chunk in self.0.utf8_chunks() {
            for part in chunk.valid().split_inclusive(char::is_control) {
                match part.strip_suffix(char::is_control) {
                    Some(clean) => {
                        f.write_str(clean)?;
                        f.write_char('?')?;
                        printed += clean.len() + 1;
                    }
                    None => {
                        f.write_str(part)?;
                        printed += part.len();
                    }
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
                printed += 1;
            }
        }
        for _ in printed..f.width().unwrap_or(0) {
            f.write_char(' ')?;
        }
        Ok(())
    }
}

/// Returns whether [`Field`] prints `byte` unchanged: a visible ASCII character that is not a
/// separator.
#[inline]
pub(crate) fn is_plain(byte: u8) -> bool {
    static PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            plain[byte as usize] = !matches!(byte, b'\\' | b',' | b':');
            byte += 1;
        }
        plain
    };
    PLAIN.get(usize::from(byte)).is_some_and(|plain| *plain)
}

/// Formats text for a record whose fields are separated by spaces.
///
/// Characters that are not visible, the separators `,` and `:`, and `\` become `\` and three octal
/// digits per byte. Empty text becomes `-`.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::{Field, Text};
/// use core::fmt::Write;
///
/// let mut text = Text::<8>::new();
/// write!(text, "{}", Field(b"a b"))?;
/// assert_eq!(text.as_bytes(), b"a\\040b");
/// ```
pub(crate) struct Field<'a>(pub(crate) &'a [u8]);

impl Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_char('-');
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character.is_whitespace() || "\\,:".contains(character)
                {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        write!(f, "\\{byte:03o}")?;
                    }
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\{byte:03o}")?;
            }
        }
        Ok(())
    }
}

/// Returns the bytes of `name` before its first zero byte.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::until_nul;
///
/// assert_eq!(until_nul(b"name\0\0"), b"name");
/// ```
pub(crate) fn until_nul(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == 0);
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_text)]
mod tests {
    use super::*;

    fn field(text: &[u8]) -> Text<64> {
        let mut printed = Text::new();
        let _ = write!(printed, "{}", Field(text));
        printed
    }

    fn column(text: &[u8]) -> Text<64> {
        let mut printed = Text::new();
        let _ = write!(printed, "{:<6}|", Column(text));
        printed
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(truncate(b"abc", 2), b"ab");
        assert_eq!(truncate(b"abc", 3), b"abc");
        assert_eq!(truncate("a\u{e9}".as_bytes(), 2), b"a");
        assert_eq!(truncate("\u{20ac}x".as_bytes(), 2), b"");
        // Invalid UTF-8 is truncated at any byte.
        assert_eq!(truncate(b"\xff\xff\xff", 2), b"\xff\xff");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut text = Text::<4>::new();
        text.push(b"ab");
        text.push("\u{e9}".as_bytes());
        assert_eq!(text.as_bytes(), b"ab");
        text.push(b"cd");
        assert_eq!(text.as_bytes(), b"abc");
        text.push(b"e");
        assert_eq!(text.as_bytes(), b"abc");
    }

    #[test]
    fn fields_hold_no_separator() {
        assert_eq!(field(b"").as_bytes(), b"-");
        assert_eq!(field(b"plain-1").as_bytes(), b"plain-1");
        assert_eq!(field(b"a b,c:d\\").as_bytes(), b"a\\040b\\054c\\072d\\134");
        assert_eq!(field(b"\xff\n").as_bytes(), b"\\377\\012");
        for byte in 0..=u8::MAX {
            let kept = field(&[byte]).as_bytes() == [byte];
            assert_eq!(is_plain(byte), kept);
        }
    }

    #[test]
    fn columns_keep_their_line_whole() {
        assert_eq!(column(b"ab").as_bytes(), b"ab    |");
        assert_eq!(column(b"a\nb\xff").as_bytes(), b"a?b?  |");
        assert_eq!(column(b"longer than that").as_bytes(), b"longer than that|");
    }
}
