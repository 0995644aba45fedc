// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, for where areas lie: nothing else in a stock kernel tells that of those
//! without an address in the device tree.

use super::hexadecimal;

/// What the log's lines say of areas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The base of the default area, where no node makes it.
    pub default: Option<u64>,
    /// The base and size of regions by the names of their nodes.
    pub nodes: Vec<(String, u64, u64)>,
}

/// Takes out what is said of areas. Lines may be those of `/dev/kmsg` or of `dmesg`. Programs can
/// write to the log too, but not as the kernel: lines of `/dev/kmsg` tell the facility, and those
/// of others are left out.
pub fn parse(log: &str) -> Places {
    let mut places = Places::default();
    for line in log.lines() {
        if line.starts_with(' ') {
            continue;
        }
        let text = match kmsg_text(line) {
            Some(None) => continue,
            Some(Some(text)) => text,
            None => line
                .split_once("] ")
                .filter(|(time, _)| time.starts_with('['))
                .map_or(line, |(_, text)| text),
        };
        if let Some(rest) = text.strip_prefix("cma: Reserved ") {
            // `64 MiB at 0x000000007bc00000`, in older kernels with `on node -1` behind it.
            let base = rest
                .split_once(" at ")
                .and_then(|(_, rest)| hexadecimal(rest.split(' ').next()?));
            places.default = places.default.or(base);
        } else if let Some(rest) = text.strip_prefix("OF: reserved mem: ") {
            places.nodes.extend(node(rest));
        }
    }
    places
}

/// The text of a line of `/dev/kmsg`; `Some(None)` where it is not the kernel's.
fn kmsg_text(line: &str) -> Option<Option<&str>> {
    let (prefix, text) = line.split_once(';')?;
    let priority: u32 = prefix.split_once(',')?.0.parse().ok()?;
    Some((priority >> 3 == 0).then_some(text))
}

/// `0x000000004c000000..0x000000004d7fffff (24576 KiB) map reusable NAME`
fn node(rest: &str) -> Option<(String, u64, u64)> {
    let (range, rest) = rest.split_once(" (")?;
    let (start, end) = range.split_once("..")?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let size = end.checked_sub(start)?.checked_add(1)?;
    let name = rest.rsplit(' ').next()?;
    Some((name.to_owned(), start, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_found() {
        let log = "6,1,0,-;cma: Reserved 64 MiB at 0x000000007bc00000\n SUBSYSTEM=x\n\
            12,5,0,-;cma: Reserved 64 MiB at 0x1\n\
            6,2,0,-;OF: reserved mem: 0x4c000000..0x4d7fffff (24576 KiB) map reusable pool@4c000000\n";
        let places = parse(log);
        assert_eq!(places.default, Some(0x7bc0_0000));
        assert_eq!(
            places.nodes,
            [("pool@4c000000".to_owned(), 0x4c00_0000, 0x180_0000)]
        );
        let log = "[    0.000000] cma: Reserved 16 MiB at 0x3f000000 on node -1\n";
        assert_eq!(parse(log).default, Some(0x3f00_0000));
    }

    #[test]
    fn programs_cannot_say_it() {
        assert_eq!(
            parse("12,5,0,-;cma: Reserved 64 MiB at 0x1\n").default,
            None
        );
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "(6,1,0,-;(cma: Reserved |OF: reserved mem: 0x[0-9a-f]{1,20}\\.\\.))?[\\PC\n]{0,80}") {
            parse(&text);
        }
    }
}
