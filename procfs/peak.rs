// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/peak`: the peak of the total size of all dma-bufs, in MiB, rounded down.
//! Writing `0` resets it to the current total.

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
pub(crate) struct Peak;

#[vtable]
impl Show for Peak {
    fn show(&self, file: &SeqFile) -> Result {
        // Missing records are inserted before they are summed up.
        let coverage = COVERAGE_NOTE.as_str();
        let totals = all_buffers::totals();
        let note = match totals.peak_is_stale {
            true => " (inexact: exports or releases were missed)",
            false => "",
        };
        let mib = totals.peak >> 20;
        row::print_sum(file, (b"Peak: ", mib, b" MiB"), coverage, note);
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
