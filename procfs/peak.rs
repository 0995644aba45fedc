// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/peak`: the peak of the total size of all dma-bufs, in MiB, rounded down.
//! Writing `0` resets it to the current total. `/proc/rk_dmabuf/peak_bytes`: the same in bytes.

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

/// The contents of `peak`.
pub(crate) struct Peak;

/// The contents of `peak_bytes`.
pub(crate) struct PeakBytes;

/// Prints the peak, divided by 2 to the power of `shift`, in `unit`.
fn print(file: &SeqFile, shift: u32, unit: &[u8]) {
    // Missing records are inserted before they are summed up.
    let coverage = COVERAGE_NOTE.as_str();
    let totals = all_buffers::totals();
    let note = match totals.peak_is_stale {
        true => " (inexact: exports or releases were missed)",
        false => "",
    };
    row::print_sum(
        file,
        (b"Peak: ", totals.peak >> shift, unit),
        coverage,
        note,
    );
}

#[vtable]
impl Show for Peak {
    fn show(&self, file: &SeqFile) -> Result {
        print(file, 20, b" MiB");
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

#[vtable]
impl Show for PeakBytes {
    fn show(&self, file: &SeqFile) -> Result {
        print(file, 0, b" B");
        Ok(())
    }
}
