// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: columns by their names; those that are not known here are left out.

use super::{
    kib,
    Parsed, //
};

pub const PATH: &str = "/proc/rk_dma_heap/heaps";

/// The figures of a heap; sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub heap: String,
    pub buffers: u64,
    pub allocated: u64,
    /// Ready in the page pool, or waiting to be made so.
    pub pooled: u64,
    pub arrays: u64,
}

pub fn parse(text: &str) -> Parsed<Figures> {
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

fn row(columns: &[&str], line: &str) -> Option<Figures> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let field = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        fields.get(index).copied()
    };
    Some(Figures {
        heap: field("heap")?.to_owned(),
        buffers: field("buffers")?.parse().ok()?,
        allocated: kib(field("allocated")?)?,
        pooled: kib(field("pooled")?)?.checked_add(kib(field("backlog")?)?)?,
        arrays: field("arrays")?.parse().ok()?,
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
            [Figures {
                heap: "cma".into(),
                buffers: 3,
                allocated: 8192,
                pooled: 20480,
                arrays: 2
            }]
        );
        assert_eq!(parsed.odd, 2);
    }
}
