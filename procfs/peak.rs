// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/peak`: the peak of the total size of all dma-bufs, in MiB, rounded down.
//! Writing `0` resets it to the current total.

use super::row;
use crate::{
    abstractions::proc_file::Show,
    all_buffers, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

/// The contents of the file.
pub(crate) struct Peak;

#[vtable]
impl Show for Peak {
    fn show(&self, file: &SeqFile) -> Result {
        let mib = all_buffers::totals()?.peak >> 20;
        row::print_sum(file, b"Peak: ", mib, b" MiB");
        Ok(())
    }

    fn write(&self, text: &[u8]) -> Result {
        match text {
            b"0" => {
                all_buffers::reset_peak();
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }
}
