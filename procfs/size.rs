// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/size`: the sum of the sizes of all dma-bufs, in KiB.

use super::row::COVERAGE;
use crate::{all_buffers, proc_file::Show, seq_output::Output};
use kernel::{prelude::*, seq_file::SeqFile};

/// The file's content.
pub(crate) struct Size;

impl Show for Size {
    fn show(file: &SeqFile) -> Result {
        let kib = all_buffers::totals()?.bytes / 1024;
        // A formatted print of a `u64` is a panic on 32-bit machines: the kernel has no division for it there.
        let mut output = Output::new(file);
        output.bytes(b"Total: ");
        output.decimal(kib, 0);
        output.bytes(b" KiB");
        output.bytes(COVERAGE.as_str().as_bytes());
        output.bytes(b"\n");
        Ok(())
    }
}
