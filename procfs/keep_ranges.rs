// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/keep_ranges`: whether contiguous memory that is freed is kept for a second,
//! to make the next buffer of that size of it (1), or goes back to its area at once (0). Writing 0
//! gives back what is kept.

use super::switch;
use crate::{
    abstractions::proc_file::Show,
    range_cache::RangeCache, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::Arc, //
};

/// The file's content.
pub(crate) struct KeepRanges(pub(crate) Arc<RangeCache>);

impl Show for KeepRanges {
    fn show(&self, file: &SeqFile) -> Result {
        switch::show(file, self.0.is_enabled())
    }

    fn write(&self, text: &[u8]) -> Result {
        self.0.set_enabled(switch::parse(text)?);
        Ok(())
    }
}
