// SPDX-License-Identifier: GPL-2.0

//! What the lists of all dma-bufs have in common.

use crate::{
    all_buffers::{self, Found},
    dma_buf::DmaBuf,
    text::{self, Column},
};
use kernel::{fmt, prelude::*};

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

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if all_buffers::covers_all() {
            return Ok(());
        }
        f.write_str(" (this module's own buffers only)")
    }
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

/// The columns with which every line begins.
pub(crate) struct Row<'a>(pub(crate) &'a DmaBuf);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name();
        f.write_fmt(fmt!(
            "{} {:<16.16} {:<16.16} {:>10} KiB",
            Column(&self.0.identity()),
            Column(text::trimmed(&name)),
            Column(self.0.exporter().to_bytes()),
            self.0.size() / 1024
        ))
    }
}
