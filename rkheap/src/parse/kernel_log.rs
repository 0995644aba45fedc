// SPDX-License-Identifier: GPL-2.0

//! The kernel log: base addresses of contiguous areas. An unmodified kernel publishes the base of
//! an area without an address in the device tree nowhere else.

use super::hexadecimal;

/// The areas that the log names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AreaBases {
    /// The base of the default area, if no device tree node creates it.
    pub default: Option<u64>,
    /// Node name, base and size of each region.
    pub nodes: Vec<(String, u64, u64)>,
}

/// Parses the log, in the format of `/dev/kmsg` or of `dmesg`.
pub fn parse(log: &str) -> AreaBases {
    let mut bases = AreaBases::default();
    for line in log.lines() {
        let Some(text) = message(line) else {
            continue;
        };
        if let Some(rest) = text.strip_prefix("cma: Reserved ") {
            // `64 MiB at 0x000000007bc00000`; older kernels append ` on node -1`.
            let base = rest
                .split_once(" at ")
                .and_then(|(_, rest)| hexadecimal(rest.split(' ').next()?));
            bases.default = bases.default.or(base);
        } else if let Some(rest) = text.strip_prefix("OF: reserved mem: ") {
            bases.nodes.extend(node(rest));
        }
    }
    bases
}

/// Returns the message of a line of the log, in the format of `/dev/kmsg` or of `dmesg`.
///
/// Programs can write to the log, but not with the facility of the kernel. `None` if a line of
/// `/dev/kmsg` has another facility, or belongs to the message before it.
pub fn message(line: &str) -> Option<&str> {
    if line.starts_with(' ') {
        return None;
    }
    if let Some((priority, text)) = priority_and_text(line) {
        return (priority >> 3 == 0).then_some(text);
    }
    let text = line
        .split_once("] ")
        .filter(|(time, _)| time.starts_with('['))
        .map_or(line, |(_, text)| text);
    Some(text)
}

/// Returns the priority, with its facility, and the text of a line of `/dev/kmsg`.
fn priority_and_text(line: &str) -> Option<(u32, &str)> {
    let (prefix, text) = line.split_once(';')?;
    let priority = prefix.split_once(',')?.0.parse().ok()?;
    Some((priority, text))
}

/// Parses `0x000000004c000000..0x000000004d7fffff (24576 KiB) map reusable NAME`.
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
    fn bases_are_parsed() {
        let log = "6,1,0,-;cma: Reserved 64 MiB at 0x000000007bc00000\n SUBSYSTEM=x\n\
            12,5,0,-;cma: Reserved 64 MiB at 0x1\n\
            6,2,0,-;OF: reserved mem: 0x4c000000..0x4d7fffff (24576 KiB) map reusable \
            pool@4c000000\n";
        let bases = parse(log);
        assert_eq!(bases.default, Some(0x7bc0_0000));
        assert_eq!(
            bases.nodes,
            [("pool@4c000000".to_owned(), 0x4c00_0000, 0x180_0000)]
        );
        let log = "[    0.000000] cma: Reserved 16 MiB at 0x3f000000 on node -1\n";
        assert_eq!(parse(log).default, Some(0x3f00_0000));
    }

    #[test]
    fn lines_of_programs_are_ignored() {
        assert_eq!(
            parse("12,5,0,-;cma: Reserved 64 MiB at 0x1\n").default,
            None
        );
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(
            text in "(6,1,0,-;(cma: Reserved |OF: reserved mem: 0x[0-9a-f]{1,20}\\.\\.))?\
                [\\PC\n]{0,80}"
        ) {
            parse(&text);
        }
    }
}
