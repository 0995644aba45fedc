// SPDX-License-Identifier: GPL-2.0

//! The heaps: which memory they take, and within what limits. A heap is a file here and a row in a
//! table.

mod carveout;
mod cma;
mod system;

use crate::{
    abstractions::{
        cache_cleaner::{
            Cleaner,
            WRITE_COMBINED_WORKS, //
        },
        cma::{
            Area,
            AreaLookup, //
        },
        pages, //
    },
    decisions::{
        memory::Caching,
        segment::Extent, //
    },
    heap::{
        Contiguous,
        Heap, //
    },
    page_pool::Pools,
    parameters::Parameters,
    range_cache::{
        self,
        RangeCache, //
    },
    regions, //
};
use cma::{
    CmaHeap,
    Layout,
    Placement, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// The heaps over the default area: each name, whether the whole area must lie below 4 GiB, and how
/// the CPU sees the memory.
const DEFAULT_AREA: [(&CStr, bool, Caching); 5] = [
    (c"cma", false, Caching::Cached),
    (c"cma-uncached", false, Caching::WriteCombined),
    (c"cma-dma32", true, Caching::Cached),
    (c"cma-uncached-dma32", true, Caching::WriteCombined),
    // The name that mainline has used since 6.17.
    (c"default_cma_region", false, Caching::Cached),
];

/// The Rockchip heap.
const ROCKCHIP: &CStr = c"rk-dma-heap-cma";

/// Every heap that the machine can back, and what they share.
pub(crate) struct Heaps {
    /// The heaps.
    pub(crate) heaps: KVec<Arc<dyn Heap>>,
    /// The Rockchip heap, which is none of the others.
    pub(crate) rockchip: Option<Arc<dyn Contiguous>>,
    /// The pools of the system heaps.
    pub(crate) pools: Pools,
    /// Freed ranges of the contiguous heaps.
    pub(crate) ranges: Arc<RangeCache>,
    /// What works on them.
    pub(crate) range_service: range_cache::Service,
    /// The device through which caches are cleaned.
    pub(crate) cleaner: Arc<Cleaner>,
}

impl Heaps {
    /// Makes the heaps; says in the log what is left out.
    ///
    /// May sleep. Fails with `ENOMEM`, or as [`Pools::new`] and [`Cleaner::new`] do.
    pub(crate) fn create(parameters: &Parameters) -> Result<Self> {
        let cleaner = Arc::new(Cleaner::new(c"rk_dma_heap")?, GFP_KERNEL)?;
        let lookup = AreaLookup::new();
        let ranges = RangeCache::new(lookup.as_ref(), cleaner.clone())?;
        let mut heaps = KVec::new();
        let pools = system_heaps(parameters, &cleaner, &ranges, &mut heaps)?;
        area_heaps(lookup.as_ref(), &ranges, &mut heaps)?;
        for (name, carveout) in regions::carveouts()? {
            let heap = carveout::CarveoutHeap::new(&name, carveout, ranges.clone())?;
            heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let rockchip = rockchip_heap(lookup.as_ref(), &ranges)?;
        let range_service = range_cache::Service::start(&ranges, parameters.keep_ranges)?;
        Ok(Self {
            heaps,
            rockchip,
            pools,
            ranges,
            range_service,
            cleaner,
        })
    }
}

/// The heaps that are made one after the other.
type HeapList = KVec<Arc<dyn Heap>>;

fn system_heaps(
    parameters: &Parameters,
    cleaner: &Arc<Cleaner>,
    ranges: &Arc<RangeCache>,
    heaps: &mut HeapList,
) -> Result<Pools> {
    let ram = pages::total_ram();
    let mut kinds = KVec::with_capacity(system::HEAPS.len(), GFP_KERNEL)?;
    for row in system::HEAPS {
        if possible(row.0, row.1.caching) {
            kinds.push(row, GFP_KERNEL)?;
        }
    }
    let pools = Pools::new(
        &kinds,
        parameters.pool_pages(ram),
        parameters.mem_accounting,
        cleaner.clone(),
    )?;
    let limit = parameters.buffer_pages(ram);
    for pool in pools.iter() {
        let heap = system::SystemHeap::new(pool.clone(), pools.set(), ranges.clone(), limit)?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(pools)
}

/// Creates the heaps over the default area, and one over each other area, named after the area.
fn area_heaps(
    lookup: Option<&AreaLookup>,
    ranges: &Arc<RangeCache>,
    heaps: &mut HeapList,
) -> Result {
    let default = Area::default();
    if default.is_none() {
        pr_info!(
            "heaps cma and default_cma_region: left out, the kernel has no default CMA area; \
             boot with cma=SIZE to have one\n"
        );
    }
    for (name, below_4g, caching) in DEFAULT_AREA {
        let Some(area) = default.filter(|_| possible(name, caching)) else {
            continue;
        };
        if below_4g && !lies_below_4g(lookup.map(|lookup| lookup.extent(area))) {
            pr_info!(
                "heap {}: left out, the default CMA area does not lie below 4 GiB; \
                 boot with cma=SIZE@ADDRESS to move it\n",
                name
            );
            continue;
        }
        let layout = layout(area, Placement::Aligned, caching, lookup);
        let heap = CmaHeap::new(name, layout, ranges.clone())?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    for area in Area::all().filter(|area| Some(*area) != default) {
        let layout = layout(area, Placement::Aligned, Caching::Cached, lookup);
        let heap = CmaHeap::new(area.name(), layout, ranges.clone())?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(())
}

fn rockchip_heap(
    lookup: Option<&AreaLookup>,
    ranges: &Arc<RangeCache>,
) -> Result<Option<Arc<dyn Contiguous>>> {
    let Some(area) = regions::rockchip(lookup).or_else(Area::default) else {
        pr_info!(
            "heap {}: left out, the kernel has no CMA area; boot with cma=SIZE to have one\n",
            ROCKCHIP
        );
        return Ok(None);
    };
    let layout = layout(area, Placement::Packed, Caching::Cached, lookup);
    let heap = CmaHeap::new(ROCKCHIP, layout, ranges.clone())?;
    let heap: Arc<dyn Contiguous> = Arc::new(heap, GFP_KERNEL)?;
    Ok(Some(heap))
}

/// The layout of a heap over `area`. Where the size is unknown, the area itself refuses what does
/// not fit.
fn layout(
    area: Area,
    placement: Placement,
    caching: Caching,
    lookup: Option<&AreaLookup>,
) -> Layout {
    let limit = lookup.map_or(usize::MAX, |lookup| {
        (lookup.extent(area).size >> PAGE_SHIFT) as usize
    });
    Layout {
        area,
        limit,
        placement,
        caching,
    }
}

/// Whether all of an area lies below 4 GiB; not where that is not known.
fn lies_below_4g(extent: Option<Extent>) -> bool {
    extent
        .and_then(|extent| extent.base.checked_add(extent.size))
        .is_some_and(|end| end <= 1 << 32)
}

/// Whether this architecture can have a heap of this caching; if not, the log says why.
fn possible(name: &CStr, caching: Caching) -> bool {
    if caching == Caching::WriteCombined && !WRITE_COMBINED_WORKS {
        pr_info!(
            "heap {}: left out, devices snoop the caches on this architecture\n",
            name
        );
        return false;
    }
    true
}
