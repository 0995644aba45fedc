// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/rk-dma-heap-info`: the allocations of the Rockchip heaps and their addresses,
//! in the format of the vendor's kernel.

use super::{
    hexadecimal,
    Parsed, //
};

pub const PATH: &str = "/proc/rk_dma_heap/rk-dma-heap-info";

/// A dma-buf or a page array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub heap: String,
    /// The inode number of a dma-buf; `None` for a page array.
    pub inode: Option<u64>,
    pub name: String,
    /// The first and the last address.
    pub range: (u64, u64),
    /// Size in bytes.
    pub size: u64,
}

/// Parses the file.
pub fn parse(text: &str) -> Parsed<Entry> {
    let mut parsed = Parsed::default();
    let mut heading = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("dma-heap:<") {
            heading = parse_heading(rest);
            if heading.is_none() {
                parsed.malformed += 1;
            }
        } else if let Some(rest) = line.strip_prefix("\tAlloc by (") {
            // Each heading has one entry.
            let entry = heading
                .take()
                .and_then(|(heap, inode)| parse_entry(rest, heap, inode));
            parsed.add(entry);
        }
    }
    parsed
}

fn parse_heading(rest: &str) -> Option<(String, Option<u64>)> {
    let (heap, kind) = rest.split_once("> -")?;
    let inode = match kind.strip_prefix("dmabuf\ti_ino = ") {
        Some(number) => Some(number.trim().parse().ok()?),
        None if kind.starts_with("non dmabuf") => None,
        None => return None,
    };
    Some((heap.to_owned(), inode))
}

fn parse_entry(rest: &str, heap: String, inode: Option<u64>) -> Option<Entry> {
    // A name can contain the separators that follow it, so search from the end.
    let (name, rest) = rest.rsplit_once(")\t[")?;
    let (range, rest) = rest.split_once("]\t")?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let (size, _) = rest.split_once(" (")?;
    (start <= end).then_some(Entry {
        heap,
        inode,
        name: name.trim_end().to_owned(),
        range: (start, end),
        size: hexadecimal(size)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buffers_and_page_arrays_are_parsed() {
        let text = "dma-heap:<rk-dma-heap-cma> -dmabuf\ti_ino = 7\n\
            \tAlloc by (v)\t[mpi             )\t\
            [0x000000004c000000-0x000000004c000fff]\t0x0000000000001000 (4 KiB)\n\
            \t\tAttached Devices:\nTotal 0 devices attached\n\n\
            dma-heap:<rk-dma-heap-cma> -non dmabuf\n\
            \tAlloc by (ff660000.npu        )\t[0x4c001000-0x4c001fff]\t0x1000 (4 KiB)\n\
            dma-heap:<x> -what\n\tAlloc by (y)\t[0x1-0x2]\t0x1 (0 KiB)\n\nTotal : 0x2000 (8 KiB)\n";
        let parsed = parse(text);
        assert_eq!(parsed.malformed, 2);
        assert_eq!(
            parsed.items,
            [
                Entry {
                    heap: "rk-dma-heap-cma".into(),
                    inode: Some(7),
                    name: "v)\t[mpi".into(),
                    range: (0x4c00_0000, 0x4c00_0fff),
                    size: 4096
                },
                Entry {
                    heap: "rk-dma-heap-cma".into(),
                    inode: None,
                    name: "ff660000.npu".into(),
                    range: (0x4c00_1000, 0x4c00_1fff),
                    size: 4096
                }
            ]
        );
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(
            text in "(dma-heap:<a> -dmabuf\ti_ino = [0-9]{1,25}\n\tAlloc by \\()?[\\PC\n\t]{0,100}"
        ) {
            parse(&text);
        }
    }
}
