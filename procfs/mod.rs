// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/rk_dma_heap`, `/proc/rk_dmabuf` and `/proc/rk_cma`. They print the state of
//! the ledger, the records, the pools and the areas, and have no state of their own but a switch.

mod advanced;
mod bitmap;
mod buffers;
mod contig_reserve;
mod dev;
mod heaps;
mod info;
mod keep_ranges;
mod number;
mod peak;
mod pool_prefill;
mod row;
mod sgt;
mod size;
mod switch;

use crate::{
    abstractions::{
        cma::{
            Area,
            AreaLookup, //
        },
        debugfs::Link,
        proc_file::Directory, //
    },
    page_pool::PoolSet,
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
    _link: Option<Link>,
    _directories: [Directory; 3],
}

/// Creates the directories and their files. `rockchip` is the area of the Rockchip heap.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn create(
    parameters: &Parameters,
    ranges: Arc<RangeCache>,
    pools: Arc<PoolSet>,
    lookup: Option<&AreaLookup>,
    rockchip: Option<Area>,
) -> Result<Nodes> {
    let bitmap = |area| Some(bitmap::Bitmap(lookup?.pages(area)?));
    if lookup.is_none() {
        pr_info!(
            "/proc/rk_dma_heap/alloc_bitmap and /proc/rk_cma: left out, the kernel has no \
             kprobes to find the areas; build it with CONFIG_KPROBES\n"
        );
    }
    advanced::set(parameters.advanced);

    let mut heaps = Directory::new(c"rk_dma_heap")?;
    heaps.add(c"heaps", 0o444, heaps::Heaps)?;
    heaps.add(
        c"contig_reserve_mib",
        0o644,
        contig_reserve::ContigReserve(ranges.clone()),
    )?;
    heaps.add(c"keep_ranges", 0o644, keep_ranges::KeepRanges(ranges))?;
    heaps.add(c"pool_prefill_mib", 0o644, pool_prefill::PoolPrefill(pools))?;
    heaps.add(c"rk-dma-heap-info", 0o444, info::Info)?;
    // The name in kernels of the vendor.
    heaps.add(c"dma_heap_info", 0o444, info::Info)?;
    if let Some(bitmap) = rockchip.and_then(bitmap) {
        heaps.add(c"alloc_bitmap", 0o400, bitmap)?;
    }

    let mut areas = Directory::new(c"rk_cma")?;
    for (index, area) in Area::all().enumerate() {
        // The first area of a name has the file, as it has the heap.
        let is_first = Area::all()
            .take(index)
            .all(|other| other.name() != area.name());
        if let Some(bitmap) = bitmap(area).filter(|_| is_first) {
            areas.add(area.name(), 0o400, bitmap)?;
        }
    }

    let mut buffers = Directory::new(c"rk_dmabuf")?;
    buffers.add(c"size", 0o444, size::Size)?;
    buffers.add(c"peak", 0o644, peak::Peak)?;
    buffers.add(c"peak_bytes", 0o444, peak::PeakBytes)?;
    buffers.add_list::<dev::Dev>(c"dev", 0o444)?;
    buffers.add_list::<sgt::Sgt>(c"sgt", 0o444)?;
    buffers.add_list::<buffers::Buffers>(c"buffers", 0o400)?;
    buffers.add(c"advanced", 0o644, advanced::Advanced)?;
    Ok(Nodes {
        // The same text is in debugfs.
        _link: Link::new(
            c"rk_dma_heap",
            c"dma_heap_info",
            c"/proc/rk_dma_heap/dma_heap_info",
        ),
        _directories: [heaps, buffers, areas],
    })
}
