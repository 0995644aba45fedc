// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/size`, `peak` and `peak_bytes`: the sum of all dma-bufs, now and at most.

/// A file with one number of bytes.
pub struct SumFile {
    pub path: &'static str,
    /// The text before the number.
    prefix: &'static str,
    /// The text after the number.
    suffix: &'static str,
    /// The unit of the number, in bytes.
    pub unit: u64,
}

pub const PEAK: SumFile = SumFile {
    path: "/proc/rk_dmabuf/peak",
    prefix: "Peak: ",
    suffix: " MiB",
    unit: 1 << 20,
};

/// The same in bytes. Older modules do not have it.
pub const PEAK_BYTES: SumFile = SumFile {
    path: "/proc/rk_dmabuf/peak_bytes",
    prefix: "Peak: ",
    suffix: " B",
    unit: 1,
};

/// Every user may read this file. It exists if and only if the module is loaded.
pub const SIZE: SumFile = SumFile {
    path: "/proc/rk_dmabuf/size",
    prefix: "Total: ",
    suffix: " KiB",
    unit: 1 << 10,
};

impl SumFile {
    /// Returns the size in bytes, and the notes that follow it.
    pub fn parse<'a>(&self, text: &'a str) -> Option<(u64, &'a str)> {
        let line = text.lines().next()?;
        let (line, notes) = line.split_at(line.find(" (").unwrap_or(line.len()));
        let number = line.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        let bytes = number.parse::<u64>().ok()?.checked_mul(self.unit)?;
        Some((bytes, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::OWN_ONLY;

    #[test]
    fn nodes_are_parsed() {
        fn parse(text: &str) -> Option<(u64, &str)> {
            PEAK.parse(text)
        }
        assert_eq!(parse("Peak: 32 MiB\n"), Some((32 << 20, "")));
        let bytes = PEAK_BYTES.parse("Peak: 33554433 B (inexact: x)\n");
        assert_eq!(bytes, Some(((32 << 20) + 1, " (inexact: x)")));
        assert_eq!(PEAK_BYTES.parse("Peak: 32 MiB\n"), None);
        for notes in [OWN_ONLY, " (inexact: exports or releases were missed)"] {
            assert_eq!(
                parse(&format!("Peak: 32 MiB{notes}\n")),
                Some((32 << 20, notes))
            );
        }
        for text in [
            "",
            "Peak:  MiB",
            "Peak: -1 MiB",
            "Peak: 99999999999999999999 MiB",
            "32",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
