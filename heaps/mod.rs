// SPDX-License-Identifier: GPL-2.0

//! The heaps: which memory they take, and within what limits. A heap is a file here and a row in a table.

mod carveout;
mod cma;
mod system;

use crate::{
    cache_cleaner::{Cleaner, WRITE_COMBINED_WORKS},
    cma::{Area, Survey},
    heap::{Contiguous, Heap},
    kept_ranges::Keeping,
    memory::Caching,
    page_pool::Pools,
    pages,
    parameters::Parameters,
    regions,
    segment::Extent,
};
use cma::{CmaHeap, Placement};
use kernel::{page::PAGE_SHIFT, prelude::*, sync::Arc};

/// The heaps over the default area: each name, whether the whole area must lie below 4 GiB, and how the CPU sees the memory.
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
    /// Contiguous memory that is kept when it comes back.
    pub(crate) keeping: Keeping,
    /// The device through which caches are cleaned.
    pub(crate) cleaner: Arc<Cleaner>,
}

impl Heaps {
    /// Makes the heaps; says in the log what is left out.
    ///
    /// May sleep. Fails with `ENOMEM`, or as [`Pools::new`] and [`Cleaner::new`] do.
    pub(crate) fn create(parameters: &Parameters) -> Result<Self> {
        let cleaner = Arc::new(Cleaner::new(c"rk_dma_heap")?, GFP_KERNEL)?;
        let survey = Survey::new();
        let mut heaps = KVec::new();
        let pools = system_heaps(parameters, &cleaner, &mut heaps)?;
        area_heaps(survey.as_ref(), &cleaner, &mut heaps)?;
        for (name, carveout) in regions::carveouts()? {
            let heap = carveout::CarveoutHeap::new(&name, carveout)?;
            heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let rockchip = rockchip_heap(survey.as_ref(), &cleaner)?;
        let keeping = Keeping::start(survey.as_ref(), cleaner.clone(), parameters.keep_ranges)?;
        Ok(Self {
            heaps,
            rockchip,
            pools,
            keeping,
            cleaner,
        })
    }
}

type Made = KVec<Arc<dyn Heap>>;

fn system_heaps(
    parameters: &Parameters,
    cleaner: &Arc<Cleaner>,
    heaps: &mut Made,
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
        let heap = system::SystemHeap::new(pool.clone(), pools.keeper(), limit)?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(pools)
}

/// The heaps over the default area, and one for each other area, named after its node.
fn area_heaps(survey: Option<&Survey>, cleaner: &Arc<Cleaner>, heaps: &mut Made) -> Result {
    let default = Area::default();
    if default.is_none() {
        pr_info!("heaps cma and default_cma_region: left out, the kernel has no default contiguous memory area\n");
    }
    for (name, below_4g, caching) in DEFAULT_AREA {
        let Some(area) = default.filter(|_| possible(name, caching)) else {
            continue;
        };
        if below_4g && !lies_below_4g(survey.map(|survey| survey.extent(area))) {
            pr_info!(
                "heap {}: left out, the contiguous memory area does not lie below 4 GiB\n",
                name
            );
            continue;
        }
        heaps.push(
            Arc::new(
                over(name, area, Placement::Aligned, caching, survey, cleaner)?,
                GFP_KERNEL,
            )?,
            GFP_KERNEL,
        )?;
    }
    for area in Area::all().filter(|area| Some(*area) != default) {
        let heap = over(
            area.name(),
            area,
            Placement::Aligned,
            Caching::Cached,
            survey,
            cleaner,
        )?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(())
}

fn rockchip_heap(
    survey: Option<&Survey>,
    cleaner: &Arc<Cleaner>,
) -> Result<Option<Arc<dyn Contiguous>>> {
    let Some(area) = regions::rockchip(survey).or_else(Area::default) else {
        pr_info!(
            "heap {}: left out, there is no contiguous memory area\n",
            ROCKCHIP
        );
        return Ok(None);
    };
    let heap = over(
        ROCKCHIP,
        area,
        Placement::Packed,
        Caching::Cached,
        survey,
        cleaner,
    )?;
    let heap: Arc<dyn Contiguous> = Arc::new(heap, GFP_KERNEL)?;
    Ok(Some(heap))
}

/// A heap over `area`. Where nobody knows how large it is, the area itself refuses what is too large.
fn over(
    name: &CStr,
    area: Area,
    placement: Placement,
    caching: Caching,
    survey: Option<&Survey>,
    cleaner: &Arc<Cleaner>,
) -> Result<CmaHeap> {
    let limit = survey.map_or(usize::MAX, |survey| {
        (survey.extent(area).size >> PAGE_SHIFT) as usize
    });
    CmaHeap::new(name, area, limit, placement, caching, cleaner.clone())
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
