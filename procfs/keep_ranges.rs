// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/keep_ranges`: whether contiguous memory that is freed is kept for a second, to make the next buffer of that
//! size of it (1), or goes back to its area at once (0). Writing 0 gives back what is kept.

use super::switch;
use crate::{kept_ranges, proc_file::Show};
use kernel::{prelude::*, seq_file::SeqFile};

/// The file's content.
pub(crate) struct KeepRanges;

impl Show for KeepRanges {
    fn show(file: &SeqFile) -> Result {
        switch::show(file, kept_ranges::is_on())
    }

    fn write(text: &[u8]) -> Result {
        kept_ranges::switch(switch::parse(text)?);
        Ok(())
    }
}
