// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/keep_ranges`: whether contiguous memory that is freed is kept for a second, to make the next buffer of that
//! size of it (1), or goes back to its area at once (0). Writing 0 gives back what is kept.

use crate::{kept_ranges, proc_file::Show};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
};

/// The file's content.
pub(crate) struct KeepRanges;

impl Show for KeepRanges {
    fn show(file: &SeqFile) -> Result {
        seq_print!(file, "{}\n", u8::from(kept_ranges::is_on()));
        Ok(())
    }

    fn write(text: &[u8]) -> Result {
        match text {
            b"0" => kept_ranges::switch(false),
            b"1" => kept_ranges::switch(true),
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}
