// SPDX-License-Identifier: GPL-2.0

//! The parts that the lists of all dma-bufs share.

use crate::{
    abstractions::{
        dma_buf::{
            Pinned,
            NAME_LEN, //
        },
        privilege::{
            self,
            Privileges, //
        },
        seq_output::Output, //
    },
    all_buffers::{
        self,
        BufferInfo,
        Coverage, //
    },
    decisions::text, //
};
use kernel::{
    fmt,
    prelude::*,
    seq_file::SeqFile, //
};

/// The number of hexadecimal digits of a physical address.
pub(crate) const ADDRESS_DIGITS: usize = if cfg!(CONFIG_PHYS_ADDR_T_64BIT) {
    16
} else {
    8
};

/// Returns the position of a dma-buf's line in a list: newest first.
pub(crate) fn position_of(inode: u64) -> u64 {
    (i64::MAX as u64).saturating_sub(inode)
}

/// Returns the first dma-buf at or after `position`, with its own position.
pub(crate) fn buffer_at(position: u64) -> Option<(u64, BufferInfo)> {
    // The same subtraction converts an inode number to a position and back.
    let found = all_buffers::newest_up_to(position_of(position))?;
    Some((position_of(found.dma_buf.inode()), found))
}

/// Prints a note if not all dma-bufs are shown.
pub(crate) struct CoverageNote;

/// The note for the end of a heading.
pub(crate) const COVERAGE_NOTE: CoverageNote = CoverageNote;

impl CoverageNote {
    /// Returns the note, after inserting records that are missing. May sleep.
    pub(crate) fn as_str(&self) -> &'static str {
        match all_buffers::coverage() {
            Coverage::All => "",
            Coverage::Incomplete => " (incomplete: no memory for some buffers' records)",
            Coverage::Own => " (this module's own buffers only)",
        }
    }
}

impl fmt::Display for CoverageNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Prints a line with one number and the notes `coverage` and `note`.
pub(crate) fn print_sum(
    file: &SeqFile,
    (label, sum, unit): (&[u8], u64, &[u8]),
    coverage: &str,
    note: &str,
) {
    // Formatting a `u64` with `core::fmt` panics on 32-bit kernels, which lack the division for it.
    let mut output = Output::new(file);
    output.bytes(label);
    output.decimal(sum, 0);
    output.bytes(unit);
    output.bytes(coverage.as_bytes());
    output.bytes(note.as_bytes());
    output.bytes(b"\n");
}

/// The heading of a list, with the name of its last column.
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
            COVERAGE_NOTE
        ))
    }
}

/// Returns the name of `dma_buf`, padded with zeros. It is empty if the reader of `file` may not
/// see which process has exported the dma-buf: default names contain its number and thread name.
pub(crate) fn visible_name(
    file: &SeqFile,
    privileges: Privileges,
    dma_buf: &Pinned,
) -> [u8; NAME_LEN] {
    if privilege::inspects_exporter(file, privileges, dma_buf) {
        dma_buf.name()
    } else {
        [0; NAME_LEN]
    }
}

/// Prints the columns that all lines of `file` begin with.
pub(crate) fn print(file: &SeqFile, privileges: Privileges, dma_buf: &Pinned) {
    let mut output = Output::new(file);
    let name = visible_name(file, privileges, dma_buf);
    output.bytes(&dma_buf.hashed_address());
    output.bytes(b" ");
    output.truncated_column(text::until_nul(&name), 16);
    output.bytes(b" ");
    output.truncated_column(dma_buf.exporter().to_bytes(), 16);
    output.bytes(b" ");
    output.decimal(dma_buf.size() as u64 / 1024, 10);
    output.bytes(b" KiB");
}
