// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/rk_dma_heap` and `/proc/rk_dmabuf`. They print the state of the ledger, the
//! records and the pools, and have no state of their own but a switch.

mod advanced;
mod buffers;
mod dev;
mod heaps;
mod info;
mod keep_ranges;
mod peak;
mod row;
mod sgt;
mod size;
mod switch;

use crate::{
    abstractions::proc_file::Directory,
    parameters::Parameters,
    range_cache::RangeCache, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The directories and their files, which are removed when this is dropped.
#[must_use = "dropping this removes the files"]
pub(crate) struct Nodes {
    _directories: [Directory; 2],
}

/// Creates the directories and their files.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn create(parameters: &Parameters, ranges: Arc<RangeCache>) -> Result<Nodes> {
    advanced::set(parameters.advanced);

    let mut heaps = Directory::new(c"rk_dma_heap")?;
    heaps.add(c"heaps", 0o444, heaps::Heaps)?;
    heaps.add(c"keep_ranges", 0o644, keep_ranges::KeepRanges(ranges))?;
    heaps.add(c"rk-dma-heap-info", 0o444, info::Info)?;

    let mut buffers = Directory::new(c"rk_dmabuf")?;
    buffers.add(c"size", 0o444, size::Size)?;
    buffers.add(c"peak", 0o644, peak::Peak)?;
    buffers.add_list::<dev::Dev>(c"dev", 0o444)?;
    buffers.add_list::<sgt::Sgt>(c"sgt", 0o444)?;
    buffers.add_list::<buffers::Buffers>(c"buffers", 0o400)?;
    buffers.add(c"advanced", 0o644, advanced::Advanced)?;
    Ok(Nodes {
        _directories: [heaps, buffers],
    })
}
