// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/fdinfo/FD` of a file descriptor for a dma-buf.

/// The dma-buf of a file descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdInfo {
    pub inode: u64,
    pub size: u64,
    pub references: Option<u64>,
    pub exporter: String,
    pub name: Option<String>,
}

/// Parses the file. Returns `None` if the descriptor does not refer to a dma-buf.
///
/// The name is the last field. It can contain any text, including lines that look like fields.
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
    fn other_files_are_ignored() {
        let info = parse(TEXT).unwrap();
        assert_eq!((info.inode, info.size, info.references), (9, 4096, Some(1)));
        assert_eq!((info.exporter.as_str(), info.name), ("system", None));
        assert_eq!(parse("pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t9\n"), None);
    }

    proptest! {
        #[test]
        fn a_name_may_contain_fields(name in "[\\PC\n\t:]{0,31}") {
            let text = format!("{TEXT}name:\t{name}\nsize:\t1\n");
            let info = parse(&text).unwrap();
            prop_assert_eq!((info.inode, info.size), (9, 4096));
            prop_assert_eq!(info.name, Some(format!("{name}\nsize:\t1")));
        }

        #[test]
        fn any_input_is_accepted(text in "[\\PC\n\t]{0,100}") {
            parse(&text);
        }
    }
}
