// SPDX-License-Identifier: GPL-2.0

//! Names, sizes and times as people read them, and sizes as they write them.
//!
//! Names of threads and buffers are whatever some program says they are. None of them may reach a
//! terminal as it is.

use std::fmt::Write;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Whether a character may do something to a terminal, or to the order or visibility of the text
/// around it.
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            | '\u{fffe}' | '\u{ffff}')
}

/// A name fit to be printed: what is harmful, and the backslash that marks it, is shown as
/// `\u{1b}`.
pub fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        if is_harmful(character) {
            shown.extend(character.escape_unicode());
        } else if character == '\\' {
            shown.push_str("\\\\");
        } else {
            shown.push(character);
        }
    }
    shown
}

/// As [`shown`], of at most `most` characters; `…` stands for the rest.
pub fn cut(name: &str, most: usize) -> String {
    let shown = shown(name);
    if shown.chars().count() <= most {
        return shown;
    }
    let mut cut: String = shown.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// JSON in which only what is printable stands as it is. Such characters are only ever inside of
/// strings there, where an escape means the same.
pub fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_harmful(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string never fails.
                let _ = write!(printable, "\\u{unit:04x}");
            }
        } else {
            printable.push(character);
        }
    }
    printable
}

/// A size in KiB or MiB.
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
    // In integers, and rounded down: nothing is told that is not there.
    let tenths = bytes % unit * 10 / unit;
    format!("{}.{tenths} {name}", bytes / unit)
}

/// A difference of sizes, with its sign.
pub fn difference(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes < 0 => format!("-{}", size(bytes.unsigned_abs())),
        _ => format!("+{}", size(bytes.unsigned_abs())),
    }
}

/// How old something is.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A time that was measured.
pub fn time(duration: Duration) -> String {
    let micros = duration.as_nanos();
    format!("{}.{} us", micros / 1000, micros % 1000 / 100)
}

/// `1 buffer`, `2 buffers`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A size as people write it: `4096`, `64K`, `1M`, `8MiB`, `2GiB`; units are powers of 1024.
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
        .map_err(|_| "must be a whole number with a unit, like 64K or 8MiB".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) => Err("must be more than 0".into()),
        Some(size) => Ok(size),
        None => Err("is more than 64 bits hold".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_kib_and_mib() {
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
    fn sizes_are_understood() {
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
    fn ages_are_told() {
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
    fn names_do_nothing_to_a_terminal() {
        assert_eq!(shown("plain é"), "plain é");
        assert_eq!(
            shown("a\x1b[2Jb\\\u{202e}\u{9b}"),
            "a\\u{1b}[2Jb\\\\\\u{202e}\\u{9b}"
        );
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(
            printable_json("\"\u{7f}\u{202e}\u{e0001}\""),
            "\"\\u007f\\u202e\\udb40\\udc01\""
        );
    }
}
