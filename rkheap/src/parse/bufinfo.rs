// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/dma_buf/bufinfo`: the list of all dma-bufs that the kernel provides.

use super::Parsed;
use crate::buffer::Buffer;

pub const PATH: &str = "/sys/kernel/debug/dma_buf/bufinfo";

/// Parses the list. The kernel does not escape names, so names can contain whole lines of any text.
pub fn parse(text: &str) -> Parsed<Buffer> {
    let mut parsed: Parsed<Buffer> = Parsed::default();
    let mut in_devices = false;
    for line in text
        .lines()
        .skip_while(|line| !line.starts_with("size"))
        .skip(1)
    {
        if line == "\tAttached Devices:" {
            in_devices = true;
        } else if line.starts_with("Total ") {
            in_devices = false;
        } else if in_devices {
            match parsed.items.last_mut() {
                Some(buffer) => buffer.devices.push(line.trim().to_owned()),
                None => parsed.malformed += 1,
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            parsed.add(row(line));
        } else if !(line.trim().is_empty() || is_fence(line)) {
            parsed.malformed += 1;
        }
    }
    parsed
}

fn is_fence(line: &str) -> bool {
    line.trim_start().contains("fence:")
}

/// Parses size, flags, mode, count, exporter, inode and name, separated by tabs.
fn row(line: &str) -> Option<Buffer> {
    let mut fields = line.splitn(7, '\t').map(str::trim);
    let size = fields.next()?.parse().ok()?;
    let references = fields.nth(2)?.parse().ok();
    let exporter = fields.next()?.to_owned();
    let inode = fields.next()?.parse().ok()?;
    let name = fields.next().filter(|name| *name != "<none>");
    Some(Buffer {
        inode: Some(inode),
        size,
        exporter,
        name: name.map(str::to_owned),
        references,
        ..Buffer::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str =
        "\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n\
        00065536\t00000002\t00080007\t00000003\tsystem\t00000007\tfront\n\
        \tAttached Devices:\n\tvgem\n\tvivid.0\nTotal 2 devices attached\n\n\
        00004096\t00000002\t00080007\t00000001\tsystem\t00000009\t<none>\n\
        \tkernel fence: a b signalled\n\
        \tAttached Devices:\nTotal 0 devices attached\n\n\
        \nTotal 2 objects, 69632 bytes\n";

    #[test]
    fn list_is_parsed() {
        let parsed = parse(LIST);
        assert_eq!((parsed.items.len(), parsed.malformed), (2, 0));
        let [first, second] = &parsed.items[..] else {
            panic!("{parsed:?}");
        };
        assert_eq!(first.devices, ["vgem", "vivid.0"]);
        assert_eq!(
            (first.size, first.inode, first.references),
            (65536, Some(7), Some(3))
        );
        assert_eq!((second.name.as_deref(), second.devices.len()), (None, 0));
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(text in "size\n[0-9\t]{0,30}[\\PC\n\t]{0,100}") {
            parse(&text);
        }
    }
}
