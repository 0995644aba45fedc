// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: figures of each heap.

use anyhow::{
    Context,
    Result, //
};

/// Returns a column of a heap, which is a size, in bytes. `None` if the file, the column or the
/// heap does not exist.
pub fn size(heap: &str, column: &str) -> Result<Option<usize>> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/heaps").unwrap_or_default();
    parse(&text, heap, column)
}

fn parse(text: &str, heap: &str, column: &str) -> Result<Option<usize>> {
    let mut lines = text.lines().map(str::split_whitespace);
    let index = lines
        .next()
        .and_then(|mut names| names.position(|name| name == column));
    let line = lines.find(|line| line.clone().next() == Some(heap));
    let (Some(index), Some(mut line)) = (index, line) else {
        return Ok(None);
    };
    let kib: usize = line.nth(index).context("a short line")?.parse()?;
    Ok(Some(kib << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "heap buffers left reserve\nsystem 1 0 0\ncma 2 20 10\n";
        assert_eq!(parse(text, "cma", "left").unwrap(), Some(20 << 10));
        assert_eq!(parse(text, "cma", "reserve").unwrap(), Some(10 << 10));
        assert_eq!(parse(text, "cma", "beyond").unwrap(), None);
        assert_eq!(parse(text, "other", "left").unwrap(), None);
        assert_eq!(parse("", "cma", "left").unwrap(), None);
        assert!(parse("heap left\ncma x\n", "cma", "left").is_err());
        assert!(parse("heap left\ncma\n", "cma", "left").is_err());
    }
}
