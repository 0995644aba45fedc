// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/keep_ranges`: whether freed ranges of the contiguous heaps are cached.
//!
//! With 1 a freed range is cached for a second, for the next buffer of the same size. With 0 it is
//! released to its area at once. Writing 0 also releases all cached ranges.

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

/// The contents of the file.
pub(crate) struct KeepRanges(pub(crate) Arc<RangeCache>);

#[vtable]
impl Show for KeepRanges {
    fn show(&self, file: &SeqFile) -> Result {
        switch::show(file, self.0.is_enabled())
    }

    fn write(&self, text: &[u8]) -> Result {
        self.0.set_enabled(switch::parse(text)?);
        Ok(())
    }
}
