// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/size`: the total size of all dma-bufs, in KiB.

use super::row::{
    self,
    COVERAGE_NOTE, //
};
use crate::{
    abstractions::proc_file::Show,
    all_buffers, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

/// The contents of the file.
pub(crate) struct Size;

#[vtable]
impl Show for Size {
    fn show(&self, file: &SeqFile) -> Result {
        // Missing records are inserted before they are summed up.
        let coverage = COVERAGE_NOTE.as_str();
        let kib = all_buffers::totals().bytes / 1024;
        row::print_sum(file, (b"Total: ", kib, b" KiB"), coverage, "");
        Ok(())
    }
}
