// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: one line per heap. Columns are found by the names in the heading, and
//! unknown columns are ignored.

use super::{
    kib,
    Parsed, //
};

pub const PATH: &str = "/proc/rk_dma_heap/heaps";

/// The statistics of a heap. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    pub heap: String,
    pub buffers: u64,
    pub allocated: u64,
    /// Size of the page pool, including its backlog.
    pub pooled: u64,
    /// Number of page arrays that drivers allocated.
    pub arrays: u64,
    /// The part of `allocated` that is RAM outside of the heap's area. `None` if the module does
    /// not state it.
    pub beyond: Option<u64>,
    /// What the heap may still take from RAM, up to the limit.
    pub left: Option<u64>,
    /// What RAM can be spared for it.
    pub spare: Option<u64>,
}

/// Parses the file.
pub fn parse(text: &str) -> Parsed<HeapStats> {
    let mut parsed = Parsed::default();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for line in lines {
        parsed.add(row(&columns, line));
    }
    parsed
}

fn row(columns: &[&str], line: &str) -> Option<HeapStats> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let field = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        fields.get(index).copied()
    };
    Some(HeapStats {
        heap: field("heap")?.to_owned(),
        buffers: field("buffers")?.parse().ok()?,
        allocated: kib(field("allocated")?)?,
        pooled: kib(field("pooled")?)?.checked_add(kib(field("backlog")?)?)?,
        arrays: field("arrays")?.parse().ok()?,
        beyond: field("beyond").and_then(kib),
        left: field("left").and_then(kib),
        spare: field("spare").and_then(kib),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "heap arrays new buffers allocated pooled backlog\n\
            cma 2 x 3 8 16 4\nbroken\ncma 2 x 3 18446744073709551615 0 0\n";
        let parsed = parse(text);
        assert_eq!(
            parsed.items,
            [HeapStats {
                heap: "cma".into(),
                buffers: 3,
                allocated: 8192,
                pooled: 20480,
                arrays: 2,
                beyond: None,
                left: None,
                spare: None,
            }]
        );
        assert_eq!(parsed.malformed, 2);
        let text = "heap buffers allocated pooled backlog arrays beyond left spare\n\
            cma 3 8 0 0 0 4 1024 12\n";
        let heap = &parse(text).items[0];
        assert_eq!((heap.beyond, heap.left), (Some(4096), Some(1 << 20)));
        assert_eq!(heap.spare, Some(12 << 10));
    }
}
