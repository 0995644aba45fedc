// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/fdinfo/FD` of a dma-buf.

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdInfo {
    pub inode: u64,
    pub size: u64,
    pub references: Option<u64>,
    pub exporter: String,
    pub name: Option<String>,
}

/// Understands the file; `None` where the descriptor is no dma-buf's. The name comes last and may
/// be anything, lines that look like the others too.
pub fn parse(text: &str) -> Option<FdInfo> {
    let (fields, name) = match text.split_once("\nname:\t") {
        Some((fields, name)) => (fields, Some(name.strip_suffix('\n').unwrap_or(name))),
        None => (text, None),
    };
    let field = |name: &str| {
        fields
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
            .map(str::trim)
    };
    Some(FdInfo {
        inode: field("ino")?.parse().ok()?,
        size: field("size")?.parse().ok()?,
        references: field("count").and_then(|count| count.parse().ok()),
        exporter: field("exp_name")?.to_owned(),
        name: name.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t9\nsize:\t4096\ncount:\t1\nexp_name:\tsystem\n";

    #[test]
    fn a_dma_buf_is_told_from_a_file() {
        let info = parse(TEXT).unwrap();
        assert_eq!((info.inode, info.size, info.references), (9, 4096, Some(1)));
        assert_eq!((info.exporter.as_str(), info.name), ("system", None));
        assert_eq!(parse("pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t9\n"), None);
    }

    proptest! {
        #[test]
        fn a_name_stays_a_name(name in "[\\PC\n\t:]{0,31}") {
            let text = format!("{TEXT}name:\t{name}\nsize:\t1\n");
            let info = parse(&text).unwrap();
            prop_assert_eq!((info.inode, info.size), (9, 4096));
            prop_assert_eq!(info.name, Some(format!("{name}\nsize:\t1")));
        }

        #[test]
        fn nothing_breaks_it(text in "[\\PC\n\t]{0,100}") {
            parse(&text);
        }
    }
}
