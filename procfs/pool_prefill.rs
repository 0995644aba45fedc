// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/pool_prefill_mib`: how much of the pool of `system` is filled in advance, in
//! MiB.
//!
//! What is ready is in the column `pooled` of `/proc/rk_dma_heap/heaps`. Writing a smaller number
//! frees what the pool has above it before the call returns; a larger one is reached in the
//! background. A number beyond the limit of the pools is refused with `EINVAL`.

use super::number;
use crate::{
    abstractions::proc_file::Show,
    page_pool::PoolSet, //
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
pub(crate) struct PoolPrefill(pub(crate) Arc<PoolSet>);

#[vtable]
impl Show for PoolPrefill {
    fn show(&self, file: &SeqFile) -> Result {
        seq_print!(file, "{}\n", self.0.prefill_mib());
        Ok(())
    }

    fn write(&self, text: &[u8]) -> Result {
        self.0.set_prefill_mib(number::parse(text)?)
    }
}
