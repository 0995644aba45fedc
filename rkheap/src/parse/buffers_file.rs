// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/buffers`: one record per dma-buf of the system. Fields are found by the names
//! in the heading.

use super::{
    unless_dash,
    Parsed, //
};
use crate::buffer::{
    Buffer,
    Holder, //
};

pub const PATH: &str = "/proc/rk_dmabuf/buffers";

/// Parses the file.
pub fn parse(text: &str) -> Parsed<Buffer> {
    let mut parsed = Parsed::default();
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let columns: Vec<&str> = parsed.columns(heading).split(' ').collect();
    if !columns.contains(&"inode") {
        parsed.malformed += 1;
    }
    for line in lines {
        parsed.add(record(&columns, line));
    }
    parsed
}

fn record(columns: &[&str], line: &str) -> Option<Buffer> {
    let fields: Vec<&str> = line.split(' ').collect();
    let field = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        fields.get(index).copied()
    };
    let name = |column: &str| field(column).and_then(unless_dash).map(decoded);
    let number = |column: &str| field(column).and_then(|field| field.parse().ok());
    let list = |column: &str| {
        field(column)
            .and_then(unless_dash)
            .into_iter()
            .flat_map(|list| list.split(','))
    };
    Some(Buffer {
        inode: Some(number("inode")?),
        size: number("size")?,
        exporter: name("exporter").unwrap_or_default(),
        name: name("name"),
        age_ms: number("age_ms"),
        pid: number("pid").and_then(|pid| u32::try_from(pid).ok()),
        thread: name("thread"),
        references: number("references"),
        devices: list("devices").map(decoded).collect(),
        holders: list("holders").filter_map(holder).collect(),
    })
}

fn holder(text: &str) -> Option<Holder> {
    let mut parts = text.split(':');
    let holder = Holder {
        pid: parts.next()?.parse().ok()?,
        name: decoded(parts.next()?),
        descriptors: parts.next()?.strip_prefix("fd=")?.parse().ok()?,
        mappings: parts.next()?.strip_prefix("map=")?.parse().ok()?,
    };
    parts.next().is_none().then_some(holder)
}

/// Decodes a field, in which separators and invisible bytes are `\` and three octal digits.
fn decoded(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'\\' {
            let byte = after
                .get(..3)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .filter(|digits| digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')))
                .and_then(|digits| u8::from_str_radix(digits, 8).ok());
            if let (Some(byte), Some(later)) = (byte, after.get(3..)) {
                bytes.push(byte);
                rest = later;
                continue;
            }
        }
        bytes.push(first);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes a field like the module, as the inverse of [`decoded`].
#[cfg(test)]
pub fn encoded(name: &str) -> String {
    let mut field = String::new();
    for character in name.chars() {
        if character.is_control() || character.is_whitespace() || "\\,:".contains(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                field += &format!("\\{byte:03o}");
            }
        } else {
            field.push(character);
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{
        INCOMPLETE,
        OWN_ONLY, //
    };
    use proptest::prelude::*;

    const HEADING: &str = "inode size exporter name age_ms pid thread references devices holders";

    #[test]
    fn records_are_parsed() {
        let text = format!(
            "{HEADING}\n\
             2 4096 cma a\\040b 15 7 demo 3 vgem,vivid.0 7:de\\072mo:fd=1:map=2,8:x:fd=0:map=1\n\
             1 8192 udmabuf - - - - 1 - -\n\
             x 8192 udmabuf - - - - 1 - -\n"
        );
        let parsed = parse(&text);
        assert_eq!((parsed.malformed, parsed.own_only), (1, false));
        let [first, second] = &parsed.items[..] else {
            panic!("{parsed:?}");
        };
        assert_eq!(first.name.as_deref(), Some("a b"));
        assert_eq!(first.devices, ["vgem", "vivid.0"]);
        assert_eq!(first.holders.len(), 2);
        assert_eq!(first.holders[0].name, "de:mo");
        assert_eq!(first.holders[1].mappings, 1);
        assert_eq!(
            (second.pid, second.age_ms, second.holders.len()),
            (None, None, 0)
        );
    }

    #[test]
    fn own_only_is_recognized() {
        assert!(parse(&format!("{HEADING}{OWN_ONLY}\n")).own_only);
        assert!(parse(&format!("{HEADING}\n")).is_complete());
        for text in [
            format!("{HEADING}{OWN_ONLY}\n"),
            format!("{HEADING}{INCOMPLETE}\n"),
            format!("{HEADING}\nno buffer\n"),
            "\n".to_owned(),
            String::new(),
        ] {
            assert!(!parse(&text).is_complete(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_decoded(name in "\\PC{1,31}|[\\x00-\\x7f]{1,31}") {
            prop_assume!(name != "-");
            let line = format!("{HEADING}\n1 2 {} - 0 1 t 1 - 1:{0}:fd=1:map=0\n", encoded(&name));
            let parsed = parse(&line);
            prop_assert_eq!(parsed.items.len(), 1);
            prop_assert_eq!(&parsed.items[0].exporter, &name);
            prop_assert_eq!(&parsed.items[0].holders[0].name, &name);
        }

        #[test]
        fn any_input_is_accepted(
            text in "(inode size exporter name holders\n)?[ -~\n\\\\]{0,200}|\\PC*"
        ) {
            parse(&text);
        }
    }
}
