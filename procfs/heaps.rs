// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: one line per heap, with its allocations and the state of its pool.
//!
//! The first line names the columns. Columns are separated by spaces and never change their names;
//! new ones are added at the end. Sizes are in KiB; `hits` and `misses` count runs of pages.
//! `beyond` is the part of `allocated` that a contiguous heap has taken from RAM because its area
//! had no place, `left` what all of them together may still take there, and `spare` how much RAM
//! can be spared for that at present. Both contain `reserve`, what is ready for them.

use crate::{
    abstractions::proc_file::Show,
    registry, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// The contents of the file.
pub(crate) struct Heaps;

/// Converts a number of pages to KiB.
fn kib(pages: usize) -> usize {
    pages << (PAGE_SHIFT - 10)
}

#[vtable]
impl Show for Heaps {
    fn show(&self, file: &SeqFile) -> Result {
        seq_print!(
            file,
            "{:<24} {:>8} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6} {:>10} \
             {:>10} {:>10} {:>10}\n",
            "heap",
            "buffers",
            "allocated",
            "pooled",
            "backlog",
            "hits",
            "misses",
            "reclaimed",
            "arrays",
            "beyond",
            "left",
            "spare",
            "reserve"
        );
        for heap in registry::heaps()? {
            let account = heap.account();
            let pool = heap.pool_stats().unwrap_or_default();
            let left = heap.left_beyond_area();
            seq_print!(
                file,
                "{:<24} {:>8} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6} {:>10} \
                 {:>10} {:>10} {:>10}\n",
                account.heap_name().to_str().unwrap_or("?"),
                account.buffers(),
                account.bytes() / 1024,
                kib(pool.ready),
                kib(pool.backlog),
                pool.hits,
                pool.misses,
                kib(pool.reclaimed),
                account.page_arrays(),
                account.bytes_beyond_area() / 1024,
                kib(left.limit),
                kib(left.spare),
                kib(left.reserve)
            );
        }
        Ok(())
    }
}
