// SPDX-License-Identifier: GPL-2.0

//! Formatting of names, sizes and times, and parsing of sizes.
//!
//! Any program can set the names of its threads and buffers to arbitrary text. These names must be
//! escaped before they are printed.

use std::fmt::Write;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Returns whether a character can control a terminal, or change the order or the visibility of the
/// text around it.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' | '\u{fffe}' | '\u{ffff}')
}

/// Returns a printable form of a name: unprintable characters become escapes like `\u{1b}`, and a
/// backslash is doubled.
pub fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if is_unprintable(character) {
            escaped.extend(character.escape_unicode());
        } else if character == '\\' {
            escaped.push_str("\\\\");
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Returns the result of [`escaped`], or `-` for an empty name.
pub fn escaped_or_dash(name: &str) -> String {
    match name {
        "" => "-".to_owned(),
        name => escaped(name),
    }
}

/// Returns the result of [`escaped`], truncated to `max_len` characters with `…` as the last one.
pub fn truncated(name: &str, max_len: usize) -> String {
    shortened(&escaped(name), max_len)
}

/// Returns a printable text, shortened to `max_len` characters with `…` as the last one.
pub fn shortened(text: &str, max_len: usize) -> String {
    if text.chars().count() <= max_len {
        return text.to_owned();
    }
    let Some(len) = max_len.checked_sub(1) else {
        return String::new();
    };
    let shortened: String = text.chars().take(len).collect();
    shortened + "…"
}

/// Escapes all unprintable characters in JSON. They occur only in strings, where the escape has the
/// same meaning.
pub fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_unprintable(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` never fails.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Formats a number of bytes in B, KiB or MiB.
pub fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes < KIB => format!("{bytes} B"),
        _ if bytes < MIB => scaled(bytes, KIB, "KiB"),
        _ => scaled(bytes, MIB, "MiB"),
    }
}

fn scaled(bytes: u64, unit: u64, name: &str) -> String {
    if bytes % unit == 0 {
        return format!("{} {name}", bytes / unit);
    }
    // Integer division rounds down, so the result never exceeds the size.
    let tenths = bytes % unit * 10 / unit;
    format!("{}.{tenths} {name}", bytes / unit)
}

/// Formats a difference of sizes, in bytes, with its sign.
pub fn difference(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes < 0 => format!("-{}", size(bytes.unsigned_abs())),
        _ => format!("+{}", size(bytes.unsigned_abs())),
    }
}

/// Draws how much of `size` is used, in brackets around `width` characters. Whatever is used has at
/// least one, and only what is used up has all.
pub fn bar(used: u64, size: u64, width: usize) -> String {
    let filled = match (used, size) {
        (0, _) | (_, 0) => 0,
        _ if used >= size => width,
        _ => {
            let share = u128::from(used) * width as u128 / u128::from(size);
            usize::try_from(share)
                .unwrap_or(width)
                .clamp(1, width.saturating_sub(1).max(1))
        }
    };
    let filled = filled.min(width);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(width - filled))
}

/// Joins items to lines of at most `width` characters that start with `indent`, as far as each item
/// fits.
pub fn wrapped(items: &[String], indent: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        let length = item.chars().count() + comma.len();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                *line += &format!(" {item}{comma}");
            }
            _ => lines.push(format!("{indent}{item}{comma}")),
        }
    }
    lines
}

/// Formats an age.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// Formats a measured time in microseconds.
pub fn time(duration: Duration) -> String {
    let micros = duration.as_nanos();
    format!("{}.{} us", micros / 1000, micros % 1000 / 100)
}

/// Formats a count and its noun: `1 buffer`, `2 buffers`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Parses a size like `4096`, `64K`, `1M`, `8MiB` or `2GiB` and returns bytes. Units are powers of
/// 1024. Fails if the size is 0 or exceeds 64 bits.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text
        .get(digits.len()..)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => KIB * MIB,
        _ => return Err("the unit must be K, M or G (KiB, MiB, GiB), or none for bytes".into()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "must be a whole number with an optional unit, like 64K or 8MiB".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) => Err("must be greater than 0".into()),
        Some(size) => Ok(size),
        None => Err("must be less than 16 EiB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_formatted_in_kib_and_mib() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1 B"),
            (4096, "4 KiB"),
            (MIB - 1, "1023.9 KiB"),
            (MIB, "1 MiB"),
            (MIB + MIB / 2, "1.5 MiB"),
            (24 * MIB - 1, "23.9 MiB"),
            (u64::MAX, "17592186044415.9 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(difference(-4096), "-4 KiB");
        assert_eq!(difference(MIB as i64), "+1 MiB");
        assert_eq!(difference(i64::MIN), "-8796093022208 MiB");
    }

    #[test]
    fn sizes_are_parsed() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64K", 64 * KIB),
            ("8MiB", 8 * MIB),
            ("8 mib", 8 * MIB),
            ("2G", 2048 * MIB),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "K",
            "-1",
            "1.5M",
            "1T",
            "1 M B",
            "18446744073709551615K",
            "é",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bars_show_what_is_used() {
        for (used, size, drawing) in [
            (0, 8, "[....]"),
            (1, 8000, "[#...]"),
            (4, 8, "[##..]"),
            (7999, 8000, "[###.]"),
            (8, 8, "[####]"),
            (9, 8, "[####]"),
            (9, 0, "[....]"),
            (u64::MAX - 1, u64::MAX, "[###.]"),
        ] {
            assert_eq!(bar(used, size, 4), drawing, "{used} of {size}");
        }
        assert_eq!((bar(1, 2, 1), bar(1, 2, 0)), ("[#]".into(), "[]".into()));
    }

    #[test]
    fn items_are_wrapped() {
        let items = ["ab", "cd", "efghij", "k"].map(str::to_owned);
        assert_eq!(wrapped(&items, " ", 8), [" ab, cd,", " efghij,", " k"]);
        assert_eq!(wrapped(&items, "", 80), ["ab, cd, efghij, k"]);
    }

    #[test]
    fn ages_are_formatted() {
        for (ms, text) in [
            (0, "0.0 s"),
            (1999, "1.9 s"),
            (60_000, "1 min 0 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn unprintable_characters_are_escaped() {
        assert_eq!(escaped("plain é"), "plain é");
        assert_eq!(
            escaped("a\x1b[2Jb\\\u{202e}\u{9b}"),
            "a\\u{1b}[2Jb\\\\\\u{202e}\\u{9b}"
        );
        assert_eq!(truncated("abcdef", 4), "abc…");
        assert_eq!(
            escaped_json("\"\u{7f}\u{202e}\u{e0001}\""),
            "\"\\u007f\\u202e\\udb40\\udc01\""
        );
    }
}
