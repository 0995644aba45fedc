// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/size`: the sum of the sizes of all dma-bufs, in KiB.

use super::row::COVERAGE;
use crate::{all_buffers, proc_file::Show};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
};

/// The file's content.
pub(crate) struct Size;

impl Show for Size {
    fn show(file: &SeqFile) -> Result {
        let kib = all_buffers::totals()?.bytes / 1024;
        seq_print!(file, "Total: {} KiB{}\n", kib, COVERAGE);
        Ok(())
    }
}
