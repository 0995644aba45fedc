// SPDX-License-Identifier: GPL-2.0

//! The heaps: their names, their memory and their limits.
//!
//! Each type of heap has a file. `system::HEAPS` and `DEFAULT_AREA_HEAPS` list the heaps with fixed
//! names; the others are named after CMA areas and device tree nodes.

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
        command_line::CommandLine,
        free_memory, //
    },
    decisions::{
        heap_name,
        memory::Caching,
        ram_share::mib_of_pages,
        segment::Extent, //
    },
    heap::{
        Contiguous,
        Heap, //
    },
    kept_memory::KeptMemory,
    page_pool::{
        PoolSet,
        Pools, //
    },
    parameters::Parameters,
    range_cache::{
        self,
        RangeCache, //
    },
    regions, //
};
use cma::{
    AreaLayout,
    Beyond,
    CmaHeap,
    Layout,
    Placement, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// The heaps over the default area: name, whether the memory must be below 4 GiB, and how the CPU
/// maps it.
const DEFAULT_AREA_HEAPS: [(&CStr, bool, Caching); 5] = [
    (c"cma", false, Caching::Cached),
    (c"cma-uncached", false, Caching::WriteCombined),
    (c"cma-dma32", true, Caching::Cached),
    (c"cma-uncached-dma32", true, Caching::WriteCombined),
    // The name in mainline since Linux 6.17.
    (c"default_cma_region", false, Caching::Cached),
];

/// The names of [`DEFAULT_AREA_HEAPS`] that stand for the default area without further conditions.
const DEFAULT_AREA_NAMES: [&CStr; 2] = [c"cma", c"default_cma_region"];

/// The name of an area that also has a write-combined heap, which programs of vendors look up.
const COMMON_AREA: &CStr = c"linux,cma";

/// The name of that heap.
const COMMON_AREA_UNCACHED: &CStr = c"linux,cma-uncached";

/// The name of the Rockchip heap.
const ROCKCHIP_HEAP: &CStr = c"rk-dma-heap-cma";

/// The parameter by which a vendor's kernel sets memory aside for the Rockchip heap.
const VENDOR_PARAMETER: &[u8] = b"rk_dma_heap_cma=";

/// All heaps that are possible on this machine, and the resources that they share.
pub(crate) struct Heaps {
    /// The heaps of `/dev/dma_heap`, except the Rockchip heap.
    pub(crate) heaps: KVec<Arc<dyn Heap>>,
    /// The Rockchip heap, if there is an area for it.
    pub(crate) rockchip: Option<Arc<dyn Contiguous>>,
    /// The pools of the system heaps.
    pub(crate) pools: Pools,
    /// The cache for freed ranges of the contiguous heaps.
    pub(crate) ranges: Arc<RangeCache>,
    /// The thread and the shrinker of the range cache.
    pub(crate) range_service: range_cache::Service,
    /// What the system heaps shrink.
    pub(crate) kept: Arc<KeptMemory>,
    /// The device through which CPU caches are cleaned.
    pub(crate) cleaner: Arc<Cleaner>,
    /// The locations of the areas, if the kernel tells them.
    pub(crate) lookup: Option<AreaLookup>,
}

impl Heaps {
    /// Creates the heaps. Logs the reason for each heap that is left out.
    ///
    /// May sleep. Fails with `ENOMEM`, or as [`Pools::new`] and [`Cleaner::new`] do.
    pub(crate) fn create(parameters: &Parameters) -> Result<Self> {
        let cleaner = Arc::new(Cleaner::new(c"rk_dma_heap")?, GFP_KERNEL)?;
        let lookup = AreaLookup::new();
        let mut heaps = KVec::new();
        let pools = pools(parameters, &cleaner)?;
        let percent = parameters.contig_max_percent();
        let ranges = RangeCache::new(lookup.as_ref(), cleaner.clone(), pools.set(), percent)?;
        let kept = KeptMemory::new(pools.set(), ranges.clone())?;
        system_heaps(parameters, &pools, &kept, &cleaner, &mut heaps)?;
        area_heaps(lookup.as_ref(), &cleaner, &ranges, &mut heaps)?;
        for (name, carveout) in regions::carveouts()? {
            let heap = carveout::CarveoutHeap::new(&name, carveout)?;
            heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let rockchip = rockchip_heap(lookup.as_ref(), &ranges, &cleaner)?;
        let range_service = range_cache::Service::start(&ranges, parameters.keep_ranges)?;
        start_filling(parameters, &ranges, &pools.set())?;
        Ok(Self {
            heaps,
            rockchip,
            pools,
            ranges,
            range_service,
            kept,
            cleaner,
            lookup,
        })
    }
}

/// The list that the functions below append to.
type HeapList = KVec<Arc<dyn Heap>>;

/// Creates the pools of the system heaps.
fn pools(parameters: &Parameters, cleaner: &Arc<Cleaner>) -> Result<Pools> {
    let ram = free_memory::total_ram();
    let mut memory_types = KVec::with_capacity(system::HEAPS.len(), GFP_KERNEL)?;
    for (name, memory_type) in system::HEAPS {
        if caching_supported(name, memory_type.caching, cleaner) {
            memory_types.push((name, memory_type), GFP_KERNEL)?;
        }
    }
    Pools::new(
        &memory_types,
        parameters.pool_pages(ram),
        parameters.mem_accounting,
        cleaner.clone(),
    )
}

/// Creates a system heap over each pool.
fn system_heaps(
    parameters: &Parameters,
    pools: &Pools,
    kept: &Arc<KeptMemory>,
    cleaner: &Arc<Cleaner>,
    heaps: &mut HeapList,
) -> Result {
    let limit = parameters.buffer_pages(free_memory::total_ram());
    for pool in pools.iter() {
        let heap = system::SystemHeap::new(pool.clone(), kept.clone(), limit, cleaner.clone())?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(())
}

/// Creates the heaps over the default area, and one over each area, named after the area.
///
/// As on the kernel's own heaps, the default area also has a heap of its own name: libcamera opens
/// `linux,cma` or `reserved`. Where the default area has no place, or there is none, its heaps use
/// other RAM. All other areas are exclusive.
fn area_heaps(
    lookup: Option<&AreaLookup>,
    cleaner: &Arc<Cleaner>,
    ranges: &Arc<RangeCache>,
    heaps: &mut HeapList,
) -> Result {
    let mut add = |name: &CStr, area: Option<Area>, beyond: Beyond, caching: Caching| -> Result {
        let layout = Layout {
            area: area.map(|area| area_layout(area, lookup)),
            beyond,
            placement: Placement::Aligned,
            caching,
        };
        let heap = CmaHeap::new(name, layout, ranges.clone(), cleaner.clone())?;
        heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
        Ok(())
    };
    let default = Area::default();
    let uses_ram = ranges.ram_limit() > 0;
    if default.is_none() {
        report_no_default_area(c"heaps cma and default_cma_region", uses_ram);
    }
    for (name, below_4g, caching) in DEFAULT_AREA_HEAPS {
        if default.is_none() && !uses_ram || !caching_supported(name, caching, cleaner) {
            continue;
        }
        let extent = |area| lookup.map(|lookup| lookup.extent(area));
        let area = default.filter(|area| !below_4g || is_below_4g(extent(*area)));
        if area.is_none() && !uses_ram {
            pr_info!(
                "heap {}: left out, the default CMA area is not below 4 GiB; \
                 boot with cma=SIZE@ADDRESS to move it\n",
                name
            );
            continue;
        }
        let beyond = match below_4g {
            true => Beyond::RamBelow4Gib,
            false => Beyond::Ram,
        };
        add(name, area, beyond, caching)?;
    }
    for area in Area::all() {
        // The default area may be named as one of the heaps above, which have the same memory.
        if Some(area) == default && DEFAULT_AREA_NAMES.contains(&area.name()) {
            continue;
        }
        let beyond = match Some(area) == default {
            true => Beyond::Ram,
            false => Beyond::Nothing,
        };
        add(area.name(), Some(area), beyond, Caching::Cached)?;
        if area.name() == COMMON_AREA
            && caching_supported(COMMON_AREA_UNCACHED, Caching::WriteCombined, cleaner)
        {
            add(
                COMMON_AREA_UNCACHED,
                Some(area),
                beyond,
                Caching::WriteCombined,
            )?;
        }
    }
    Ok(())
}

/// Creates the Rockchip heap, if there is memory for it. A region that the device tree binds it to
/// is exclusive.
fn rockchip_heap(
    lookup: Option<&AreaLookup>,
    ranges: &Arc<RangeCache>,
    cleaner: &Arc<Cleaner>,
) -> Result<Option<Arc<dyn Contiguous>>> {
    report_vendor_parameter();
    let uses_ram = ranges.ram_limit() > 0;
    let (area, beyond) = match regions::rockchip(lookup) {
        Some(area) => (Some(area), Beyond::Nothing),
        // Devices that never attach are neither refused nor given a bounce buffer if they cannot
        // reach an address: with 32 bits they would access other memory.
        None => (Area::default(), Beyond::RamBelow4Gib),
    };
    if area.is_none() && !uses_ram {
        report_no_default_area(c"heap rk-dma-heap-cma", uses_ram);
        return Ok(None);
    }
    let layout = Layout {
        area: area.map(|area| area_layout(area, lookup)),
        beyond,
        placement: Placement::Packed,
        caching: Caching::Cached,
    };
    // Userspace of RV1106 relies on the sync ioctl for devices that never attach.
    let heap = CmaHeap::new(ROCKCHIP_HEAP, layout, ranges.clone(), cleaner.clone())?;
    let heap = heap.for_addresses();
    let heap: Arc<dyn Contiguous> = Arc::new(heap, GFP_KERNEL)?;
    Ok(Some(heap))
}

/// Begins to fill the reserve of contiguous RAM and the pool of `system`, as far as their limits
/// permit.
fn start_filling(parameters: &Parameters, ranges: &RangeCache, pools: &PoolSet) -> Result {
    let reserve = parameters.contig_reserve_mib;
    let limit = (ranges.ram_limit(), "contig_max_percent permits no more");
    match within_limit("contig_reserve_mib", reserve, limit) {
        0 => (),
        size => ranges.set_reserve_mib(size)?,
    }
    let prefill = parameters.pool_prefill_mib;
    let limit = (
        pools.limit(),
        "pool_max_percent and pool_max_mib permit no more",
    );
    match within_limit("pool_prefill_mib", prefill, limit) {
        0 => (),
        size => pools.set_prefill_mib(size)?,
    }
    Ok(())
}

/// Returns how much of `mib` MiB, the value of the parameter `name`, a limit in pages permits. Logs
/// the reason if that is less.
fn within_limit(name: &str, mib: u32, (limit, reason): (usize, &str)) -> u32 {
    let size = (mib as usize).min(mib_of_pages(limit)) as u32;
    if size < mib {
        pr_warn!("{}={}: {} is used, {}\n", name, mib, size, reason);
    }
    size
}

/// Logs what the absence of a default area means for `heaps`.
fn report_no_default_area(heaps: &CStr, uses_ram: bool) {
    if uses_ram {
        pr_info!(
            "{}: the kernel has no default CMA area, all of their memory is ordinary RAM; boot \
             with cma=SIZE to set some aside\n",
            heaps
        );
    } else {
        pr_info!(
            "{}: left out, the kernel has no default CMA area; boot with cma=SIZE to have one\n",
            heaps
        );
    }
}

/// Logs that the vendor's parameter has no effect, if it is on the command line of the kernel.
fn report_vendor_parameter() {
    let line = CommandLine::read();
    if let Some(size) = line.as_ref().and_then(|line| line.value(VENDOR_PARAMETER)) {
        let size = core::str::from_utf8(size).unwrap_or("SIZE");
        pr_warn!(
            "rk_dma_heap_cma={}: ignored, a module is loaded too late to set memory aside; boot \
             with cma={}, or bind {} to a region in the device tree\n",
            size,
            size,
            ROCKCHIP_HEAP
        );
    }
}

/// Describes `area`. If its size is unknown, there is no limit, and larger requests fail in the
/// area.
fn area_layout(area: Area, lookup: Option<&AreaLookup>) -> AreaLayout {
    let limit = lookup.map_or(usize::MAX, |lookup| {
        (lookup.extent(area).size >> PAGE_SHIFT) as usize
    });
    AreaLayout {
        area,
        limit,
        pages: lookup.and_then(|lookup| lookup.pages(area)),
    }
}

/// Returns whether a whole area is below 4 GiB. Returns false if its extent is unknown.
fn is_below_4g(extent: Option<Extent>) -> bool {
    extent
        .and_then(|extent| extent.base.checked_add(extent.size))
        .is_some_and(|end| end <= 1 << 32)
}

/// Returns whether this machine supports `caching`. Otherwise logs why the heap `name` is left out.
fn caching_supported(name: &CStr, caching: Caching, cleaner: &Cleaner) -> bool {
    if caching == Caching::Cached {
        return true;
    }
    if !WRITE_COMBINED_WORKS {
        pr_info!(
            "heap {}: left out, devices snoop the caches on this architecture\n",
            name
        );
        return false;
    }
    if !cleaner.reaches_memory() {
        let (instead, suffix) = heap_name::cached(name);
        pr_info!(
            "heap {}: left out, all DMA goes through bounce buffers (swiotlb=force or a \
             confidential guest); allocate from heap {}{}\n",
            name,
            instead,
            suffix
        );
        return false;
    }
    true
}
