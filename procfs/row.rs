// SPDX-License-Identifier: GPL-2.0

//! What the lists of all dma-bufs have in common.

use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        seq_output::Output, //
    },
    all_buffers::{
        self,
        Found, //
    },
    decisions::text, //
};
use kernel::{
    fmt,
    prelude::*,
    seq_file::SeqFile, //
};

/// How many digits a physical address has on this machine.
pub(crate) const ADDRESS_DIGITS: usize = if cfg!(CONFIG_PHYS_ADDR_T_64BIT) {
    16
} else {
    8
};

/// Where a dma-buf's line stands: newest first.
pub(crate) fn position(inode: u64) -> u64 {
    (i64::MAX as u64).saturating_sub(inode)
}

/// The first dma-buf at `position` or behind it, and its own position.
pub(crate) fn at(place: u64) -> Option<(u64, Found)> {
    // A position is mapped to an inode number and back by the same subtraction.
    let found = all_buffers::newest(position(place))?;
    Some((position(found.dma_buf.inode()), found))
}

/// Says so where other exporters' dma-bufs are not among those shown.
pub(crate) struct Coverage;

/// To be printed at the end of a heading.
pub(crate) const COVERAGE: Coverage = Coverage;

impl Coverage {
    pub(crate) fn as_str(&self) -> &'static str {
        if all_buffers::covers_all() {
            ""
        } else {
            " (this module's own buffers only)"
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Prints a line with one number, and says so where it is about some dma-bufs only.
pub(crate) fn print_sum(file: &SeqFile, label: &[u8], sum: u64, unit: &[u8]) {
    // A formatted print of a `u64` is a panic on 32-bit machines: the kernel has no division for it
    // there.
    let mut output = Output::new(file);
    output.bytes(label);
    output.decimal(sum, 0);
    output.bytes(unit);
    output.bytes(COVERAGE.as_str().as_bytes());
    output.bytes(b"\n");
}

/// The heading of a list whose last column is `last`.
pub(crate) struct Heading(pub(crate) &'static str);

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "{:>16} {:<16} {:<16} {:>14} {}{}\n\n",
            "DMABUF",
            "NAME",
            "EXPORT",
            "SIZE:KiB",
            self.0,
            COVERAGE
        ))
    }
}

/// Prints the columns with which every line begins.
pub(crate) fn print(output: &mut Output<'_>, dma_buf: &DmaBuf) {
    let name = dma_buf.name();
    output.bytes(&dma_buf.identity());
    output.bytes(b" ");
    output.cut_column(text::trimmed(&name), 16);
    output.bytes(b" ");
    output.cut_column(dma_buf.exporter().to_bytes(), 16);
    output.bytes(b" ");
    output.decimal(dma_buf.size() as u64 / 1024, 10);
    output.bytes(b" KiB");
}
