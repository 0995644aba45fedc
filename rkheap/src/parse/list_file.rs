// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/dev` and `/proc/rk_dmabuf/sgt`: one row per dma-buf in columns of fixed width,
//! newest first.

use super::{
    hexadecimal,
    kib,
    Parsed, //
};
use crate::buffer::Buffer;

pub const DEV: &str = "/proc/rk_dmabuf/dev";
pub const SGT: &str = "/proc/rk_dmabuf/sgt";
pub const ADVANCED: &str = "/proc/rk_dmabuf/advanced";

/// Width of the columns for names, in characters.
pub const NAME_WIDTH: usize = 16;

/// The row of a dma-buf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Truncated to 16 bytes, with `?` for each control character.
    pub name: String,
    pub exporter: String,
    /// Size in bytes, a multiple of 1 KiB.
    pub size: u64,
    pub devices: Vec<String>,
    /// The first and the last DMA address of each entry of the scatter list.
    pub ranges: Vec<(u64, u64)>,
}

impl Row {
    /// Returns whether this row can describe `buffer`: size, exporter and name are equal as far as
    /// a row shows them.
    pub fn matches(&self, buffer: &Buffer) -> bool {
        self.matches_nameless(buffer)
            && self.name == truncated(buffer.name.as_deref().unwrap_or_default())
    }

    /// Returns whether this row can describe `buffer`, whatever the names are.
    pub fn matches_nameless(&self, buffer: &Buffer) -> bool {
        self.size == buffer.size / 1024 * 1024 && self.exporter == truncated(&buffer.exporter)
    }
}

/// Returns a name as a row shows it.
fn truncated(name: &str) -> String {
    let mut truncated = String::new();
    for character in name.chars() {
        if truncated.len() + character.len_utf8() > NAME_WIDTH {
            break;
        }
        truncated.push(if character.is_control() {
            '?'
        } else {
            character
        });
    }
    truncated.trim_end().to_owned()
}

/// Parses either list.
pub fn parse(content: &[u8]) -> Parsed<Row> {
    let mut parsed: Parsed<Row> = Parsed::default();
    let mut lines = content.split(|byte| *byte == b'\n');
    let heading = lines.next().unwrap_or_default();
    parsed.columns(&String::from_utf8_lossy(heading));
    let ranges = heading
        .windows(b" SGLIST".len())
        .any(|part| part == b" SGLIST");
    for line in lines.filter(|line| !line.is_empty()) {
        if let Some(text) = continuation(line) {
            match (range(&text), parsed.items.last_mut()) {
                (Some(range), Some(row)) => row.ranges.push(range),
                _ => parsed.malformed += 1,
            }
        } else {
            let row = row(line, ranges);
            parsed.add(row);
        }
    }
    parsed
}

/// Returns the scatter list entry of a continuation line, which starts with 65 spaces.
fn continuation(line: &[u8]) -> Option<String> {
    let (space, rest) = line.split_at_checked(65)?;
    space
        .iter()
        .all(|byte| *byte == b' ')
        .then(|| String::from_utf8_lossy(rest).into_owned())
}

fn row(line: &[u8], with_ranges: bool) -> Option<Row> {
    let identity = line.get(..16)?;
    if !identity.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let column = |from: usize, to: usize| {
        let bytes = line.get(from..to)?;
        Some(String::from_utf8_lossy(bytes).trim_end().to_owned())
    };
    let (size, rest) = line.get(51..)?.split_at_checked(10)?;
    // A size of more than ten digits shifts the following columns to the right.
    let more = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (extra, rest) = rest.split_at_checked(more)?;
    let digits = [size, extra].concat();
    let rest = String::from_utf8_lossy(rest.strip_prefix(b" KiB")?).into_owned();
    let mut row = Row {
        name: column(17, 17 + NAME_WIDTH)?,
        exporter: column(34, 34 + NAME_WIDTH)?,
        size: kib(std::str::from_utf8(&digits).ok()?.trim())?,
        ..Row::default()
    };
    if with_ranges {
        row.ranges.extend(range(&rest));
    } else {
        row.devices = rest.split_whitespace().map(str::to_owned).collect();
    }
    Some(row)
}

/// Parses `   0: 0x000000004c000000..0x000000004c0fffff (      1024 KiB)`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (number, rest) = text.trim_start().split_once(": ")?;
    number.parse::<u64>().ok()?;
    let (range, _) = rest.split_once(" (")?;
    let (start, end) = range.split_once("..")?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::OWN_ONLY;
    use proptest::prelude::*;

    const SGT: &str =
        "          DMABUF NAME             EXPORT                 SIZE:KiB SGLIST\n\n\
        000000000087f8e0 130 heap demo    system                 8192 KiB    0: \
        0x0000000040000000..0x00000000403fffff (      4096 KiB)\n\
        \x20                                                                   1: \
        0x0000000050000000..0x00000000503fffff (      4096 KiB)\n\
        000000000087f8e1                  cma                       4 KiB (in use)\n";

    #[test]
    fn scatter_lists_are_parsed() {
        let parsed = parse(SGT.as_bytes());
        assert_eq!(parsed.malformed, 0);
        let [first, second] = &parsed.items[..] else {
            panic!("{parsed:?}");
        };
        assert_eq!(first.name, "130 heap demo");
        assert_eq!(
            first.ranges,
            [(0x4000_0000, 0x403f_ffff), (0x5000_0000, 0x503f_ffff)]
        );
        assert_eq!(
            (second.exporter.as_str(), second.size, second.ranges.len()),
            ("cma", 4096, 0)
        );
    }

    #[test]
    fn devices_are_parsed() {
        let text = format!(
            "          DMABUF NAME             EXPORT                 SIZE:KiB \
             AttachedDevices{OWN_ONLY}\n\n\
             000000000087f8e0 vcs              vgem                   1024 KiB vgem vivid.0\n\
             no row\n"
        );
        let parsed = parse(text.as_bytes());
        assert_eq!((parsed.malformed, parsed.own_only), (1, true));
        assert_eq!(parsed.items[0].devices, ["vgem", "vivid.0"]);
    }

    proptest! {
        #[test]
        fn any_range_is_parsed(
            start in any::<u64>(),
            size in any::<u64>(),
            kib in 0u64..1 << 50,
        ) {
            let end = start.saturating_add(size);
            let line = format!(
                "DMABUF SGLIST\n\n{:016x} {:<16} {:<16} {kib:>10} KiB    \
                 0: {start:#018x}..{end:#018x} ({:>10} KiB)\n",
                7, "name", "cma", 1
            );
            let parsed = parse(line.as_bytes());
            prop_assert_eq!(&parsed.items[0].ranges, &[(start, end)]);
            prop_assert_eq!(parsed.items[0].size, kib << 10);
        }

        #[test]
        fn any_input_is_accepted(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&content);
            parse(&[b" SGLIST\n0000000000000000 ".as_slice(), &content].concat());
        }
    }
}
