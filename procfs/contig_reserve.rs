// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/contig_reserve_mib`: how much RAM is kept ready for contiguous heaps, in MiB.
//!
//! What is ready is in the column `reserve` of `/proc/rk_dma_heap/heaps`. Writing a smaller number
//! releases the rest before the call returns; a larger one is reached in the background. A number
//! beyond the limit for memory outside of areas is refused with `EINVAL`.

use super::number;
use crate::{
    abstractions::proc_file::Show,
    range_cache::RangeCache, //
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::Arc, //
};

/// The contents of the file.
pub(crate) struct ContigReserve(pub(crate) Arc<RangeCache>);

#[vtable]
impl Show for ContigReserve {
    fn show(&self, file: &SeqFile) -> Result {
        seq_print!(file, "{}\n", self.0.reserve_mib());
        Ok(())
    }

    fn write(&self, text: &[u8]) -> Result {
        self.0.set_reserve_mib(number::parse(text)?)
    }
}
