// SPDX-License-Identifier: GPL-2.0

//! The records that `kernel_iterator/dma_bufs.bpf.c` writes: one per dma-buf.

use super::Parsed;
use crate::buffer::Buffer;

/// For messages: where the records come from.
pub const SOURCE: &str = "the kernel's BPF iterator";

/// Inode number, size in bytes, number of references, exporter, name: three numbers in the
/// machine's byte order, and two strings that end with a zero.
const SIZE: usize = 3 * 8 + 64 + 32;

/// Parses the records.
pub fn parse(bytes: &[u8]) -> Parsed<Buffer> {
    let mut parsed = Parsed::default();
    for bytes in bytes.chunks(SIZE) {
        parsed.add(record(bytes));
    }
    parsed
}

fn record(bytes: &[u8]) -> Option<Buffer> {
    let (inode, rest) = bytes.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (references, rest) = rest.split_first_chunk()?;
    let (exporter, rest) = rest.split_first_chunk::<64>()?;
    let (name, _) = rest.split_first_chunk::<32>()?;
    Some(Buffer {
        inode: Some(u64::from_ne_bytes(*inode)),
        size: u64::from_ne_bytes(*size),
        exporter: string(exporter).unwrap_or_default(),
        name: string(name),
        references: u64::try_from(i64::from_ne_bytes(*references)).ok(),
        ..Buffer::default()
    })
}

/// Returns what is before the zero, unless that is nothing.
fn string(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(inode: u64, size: u64, exporter: &str, name: &str) -> Vec<u8> {
        let mut bytes = [inode, size, 2].map(u64::to_ne_bytes).concat();
        bytes.extend(exporter.bytes());
        bytes.resize(3 * 8 + 64, 0);
        bytes.extend(name.bytes());
        bytes.resize(SIZE, 0);
        bytes
    }

    #[test]
    fn records_are_parsed() {
        let text = [bytes(7, 4096, "system", "a\nb"), bytes(8, 1 << 33, "x", "")].concat();
        let parsed = parse(&text);
        assert!(parsed.is_complete());
        let [first, second] = &parsed.items[..] else {
            panic!("{parsed:?}");
        };
        assert_eq!((first.inode, first.size), (Some(7), 4096));
        assert_eq!((&first.exporter[..], first.references), ("system", Some(2)));
        assert_eq!(first.name.as_deref(), Some("a\nb"));
        assert_eq!((second.inode, second.size), (Some(8), 1 << 33));
        assert_eq!(second.name, None);
    }

    #[test]
    fn a_part_of_a_record_is_malformed() {
        let mut text = bytes(7, 4096, "system", "name");
        text.extend([0; SIZE - 1]);
        let parsed = parse(&text);
        assert_eq!((parsed.items.len(), parsed.malformed), (1, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes: Vec<u8>) {
            let parsed = parse(&bytes);
            prop_assert_eq!(parsed.items.len(), bytes.len() / SIZE);
        }
    }
}
