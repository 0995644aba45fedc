// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/alloc_bitmap` and `/proc/rk_cma/AREA`: which pages of a contiguous area are
//! allocated, in the vendor's format.
//!
//! The kernel does not export the bitmap of an area, so the state of each page is looked at. Pages
//! of the range cache count as allocated. Only an administrator may read the files: they show the
//! layout of physical memory, and a read visits each page of the area.

use crate::{
    abstractions::{
        area_pages::AreaPages,
        privilege::reader_is_admin,
        proc_file::Show,
        seq_output::Output,
        signal, //
    },
    decisions::area_survey::PageUse, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    seq_file::SeqFile, //
};

/// The number of pages that a word of the bitmap stands for.
const WORD_PAGES: usize = u32::BITS as usize;

/// The number of words in a line.
const LINE_WORDS: usize = 8;

/// The contents of the file of an area.
pub(crate) struct Bitmap(pub(crate) AreaPages);

#[vtable]
impl Show for Bitmap {
    fn show(&self, file: &SeqFile) -> Result {
        if !reader_is_admin(file) {
            return Err(EPERM);
        }
        let total = self.0.count();
        let mut words = KVVec::from_elem(0u32, total.div_ceil(WORD_PAGES), GFP_KERNEL)?;
        let (mut first, mut allocated) = (0, 0);
        // A page in a batch for the LRU lists looks as if it were allocated.
        self.0.drain_batches();
        for (usage, count) in self.0.uses(1) {
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            if usage == PageUse::Allocated {
                for page in first..first + count {
                    if let Some(word) = words.get_mut(page / WORD_PAGES) {
                        *word |= 1 << (page % WORD_PAGES);
                    }
                }
                allocated += count;
            }
            first += count;
        }

        let mut output = Output::new(file);
        print_kib(&mut output, b"Total: ", total);
        print_kib(&mut output, b" Used: ", allocated);
        output.bytes(b"\n");
        for line in words.chunks(LINE_WORDS) {
            let mut separator: &[u8] = b"";
            for word in line {
                output.bytes(separator);
                output.upper_hexadecimal(u64::from(*word), 8);
                separator = b" ";
            }
            output.bytes(b"\n");
        }
        Ok(())
    }
}

/// Prints the size of a number of pages.
fn print_kib(output: &mut Output<'_>, label: &[u8], pages: usize) {
    output.bytes(label);
    output.decimal((pages as u64) << (PAGE_SHIFT - 10), 0);
    output.bytes(b" KiB\n");
}
