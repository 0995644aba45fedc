// SPDX-License-Identifier: GPL-2.0

//! Text from elsewhere, made fit to be printed: names of threads and buffers are whatever a program
//! says they are.

use core::fmt::{
    self,
    Display,
    Write, //
};

/// Text of fewer than `N` bytes. What does not fit is cut, between characters where it is text at
/// all.
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
/// `len < N`, and the bytes from there on are zero.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub(crate) const fn new() -> Self {
        const { assert!(N > 0) };
        // INVARIANT: All zeros.
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Adds what fits of `text`, up to its first zero.
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.push_whole(trimmed(text));
    }

    /// Adds what fits of `text`, which has no zero.
    #[inline]
    pub(crate) fn push_whole(&mut self, text: &[u8]) {
        debug_assert!(!text.contains(&0));
        let cut = cut(text, N - 1 - self.len);
        if let Some(room) = self.bytes.get_mut(self.len..self.len + cut.len()) {
            room.copy_from_slice(cut);
        }
        // INVARIANT: No more than fits was added.
        self.len += cut.len();
    }

    /// The text's bytes, none of which is zero.
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

/// The longest beginning of `text` that has at most `most` bytes and does not end within a
/// character.
///
/// # Examples
///
/// ```
/// use crate::decisions::text::cut;
///
/// assert_eq!(cut("naïve".as_bytes(), 3), b"na");
/// ```
#[inline]
pub(crate) fn cut(text: &[u8], most: usize) -> &[u8] {
    let cut = match text.get(..most) {
        Some(cut) if cut.len() < text.len() => cut,
        _ => return text,
    };
    match core::str::from_utf8(cut) {
        // Only its end is missing.
        Err(error) if error.error_len().is_none() => {
            cut.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => cut,
    }
}

/// Text for a column: what would break a line is shown as `?`. `{:<16}` prints it padded to 16
/// bytes.
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

/// Whether a byte may stand in a field as it is: visible, and no separator.
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

/// Text for a record whose fields are separated by spaces: whatever is not a visible character, or
/// separates within a field (`,` and `:`), is printed as `\\` and three
/// octal digits, and nothing at all as `-`.
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

/// A name as the kernel keeps it, without the zeros at its end.
pub(crate) fn trimmed(name: &[u8]) -> &[u8] {
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
        assert_eq!(cut(b"abc", 2), b"ab");
        assert_eq!(cut(b"abc", 3), b"abc");
        assert_eq!(cut("a\u{e9}".as_bytes(), 2), b"a");
        assert_eq!(cut("\u{20ac}x".as_bytes(), 2), b"");
        // What is no text at all is cut anywhere.
        assert_eq!(cut(b"\xff\xff\xff", 2), b"\xff\xff");
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
