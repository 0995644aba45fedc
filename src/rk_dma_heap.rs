// SPDX-License-Identifier: GPL-2.0

//! rk_dma_heap: every DMA-BUF heap that userspace expects, in one module.
//!
//! A request takes this way: a program's ioctl reaches a node ([`registry`]), which finds a heap ([`heap`], `heaps/`), which
//! collects memory ([`memory`]) and exports it as a buffer ([`buffer`]). What is alive stands in the [`ledger`]; of every
//! dma-buf of the system there is a record in [`all_buffers`]; `procfs/` prints both. The other modules here are abstractions over single ideas of the kernel and know nothing of heaps.
//!
//! # Locks
//!
//! In the order in which they may be taken:
//!
//! 1. the lists of heaps, mutexes: `rockchip::HEAPS`, then `registry::HEAPS` or `own_nodes::HEAPS`: while a heap is looked
//!    up, added or opened, never while memory is allocated or freed;
//! 2. a dma-buf's reservation lock: taken by the dma-buf core, and around CPU access by [`dma_buf`];
//! 3. the spin locks of a page pool's shards and depot ([`page_pool`]): never two of them, and nothing under them;
//! 4. the spin lock of [`kept_ranges`];
//! 5. a [`background`] trigger's spin lock, over that of the kernel's worker;
//! 6. the lock of a dma-buf's name, over `all_buffers::RECORDS`: spin locks, the latter also taken where the kernel lets go
//!    of a dma-buf. Nothing under them.
//!
//! Pages are allocated, freed and zeroed with none of 3 to 5 held, and the shrinkers take 3 and 4 alone.

mod bindings;

// What the kernel offers.
mod background;
mod cache_cleaner;
mod char_device;
mod cma;
mod device_tree;
mod dma_buf;
mod dma_buf_events;
mod dma_device;
mod exporter;
mod function_hook;
mod kernel_mapping;
mod kernel_symbol;
mod memory_cgroup;
mod pages;
#[cfg(CONFIG_DMABUF_HEAPS)]
mod path;
mod proc_file;
mod process;
mod seq_output;
mod sg_table;
mod shrinker;
mod signal;
mod small_allocation;
mod sysfs;
mod task;
mod user_mapping;
mod version;

// What is decided without the kernel; also built and tried on the host.
mod digits;
mod ram_share;
mod request;
mod segment;
mod text;

// What the module makes of it.
mod all_buffers;
mod allocate_ioctl;
mod buffer;
mod carveout;
mod exports;
mod heap;
mod holders;
mod kept_ranges;
mod ledger;
mod memory;
mod own_nodes;
mod page_arrays;
mod page_pool;
mod parameters;
mod places;
mod regions;
mod registry;
mod rockchip;
mod room;
mod trace;

// The examples in the documentation.
#[cfg(CONFIG_KUNIT)]
mod doc_examples {
    include!(env!("RK_DMA_HEAP_DOC_EXAMPLES"));
}

#[forbid(unsafe_code)]
#[path = "../heaps/mod.rs"]
mod heaps;
#[forbid(unsafe_code)]
#[path = "../procfs/mod.rs"]
mod procfs;

use kernel::prelude::*;

module! {
    type: RkDmaHeap,
    name: "rk_dma_heap",
    authors: ["The rk_dma_heap authors"],
    description: "DMA-BUF heaps for Rockchip and mainline userspace",
    license: "GPL v2",
    params: {
        advanced: u8 {
            default: 0,
            description: "1: /proc/rk_dmabuf/sgt maps, while it prints, what nobody has mapped; /proc/rk_dmabuf/advanced switches it later (default 0)",
        },
        default_names: u8 {
            default: 1,
            description: "0: leave dma-bufs without a name; 1: name them PID-THREADNAME when they are exported (default 1)",
        },
        keep_ranges: u8 {
            default: 1,
            description: "0: contiguous memory goes back to its area when it is freed; 1: after a second, unless a buffer of that size is made of it; /proc/rk_dma_heap/keep_ranges switches it later (default 1)",
        },
        max_percent: u8 {
            default: 50,
            description: "The largest buffer of a system heap, in percent of RAM (1 to 100, default 50)",
        },
        mem_accounting: u8 {
            default: 0,
            description: "1: charge buffers of the system heaps to the memory cgroup of who allocates them (default 0)",
        },
        pool_max_mib: u32 {
            default: 1024,
            description: "The most that the page pools keep ready, in MiB (default 1024)",
        },
        pool_max_percent: u8 {
            default: 10,
            description: "The most that the page pools keep ready, in percent of RAM (0 to 100, default 10)",
        },
        track_all: u8 {
            default: 1,
            description: "0: /proc/rk_dmabuf shows this module's own buffers only, and no others are observed (default 1)",
        },
    },
}

/// The loaded module. The fields are dropped in this order: first what can be reached from outside.
struct RkDmaHeap {
    _procfs: procfs::Nodes,
    _pool_sizes: [sysfs::NumberFile<page_pool::Keeper>; 2],
    _registry: registry::Registry,
    _rockchip: rockchip::Registration,
    _pools: page_pool::Pools,
    _keeping: kept_ranges::Keeping,
    _all_buffers: all_buffers::AllBuffers,
}

impl kernel::Module for RkDmaHeap {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: A module is loaded once, and nothing of it has been used yet.
        unsafe {
            own_nodes::prepare();
            registry::prepare();
            rockchip::prepare();
            kept_ranges::prepare();
            all_buffers::prepare();
        }
        let parameters = parameters::Parameters::read()?;
        let all_buffers =
            all_buffers::AllBuffers::start(parameters.track_all, parameters.default_names)?;
        let heaps::Heaps {
            mut heaps,
            rockchip,
            pools,
            keeping,
            cleaner,
        } = heaps::Heaps::create(&parameters)?;
        let own = rockchip.map(rockchip::RkHeap::own).transpose()?;
        if let Some(heap) = &own {
            heaps.push(heap.clone(), GFP_KERNEL)?;
        }
        // Android's name and Rockchip's; programs read either.
        let pool_sizes = [
            sysfs::NumberFile::new(c"dma_heap", c"total_pools_kb", pools.keeper())?,
            sysfs::NumberFile::new(c"rk_dma_heap", c"rk_total_pools_kb", pools.keeper())?,
        ];
        let procfs = procfs::create(&parameters)?;
        let rockchip = rockchip::Registration::new(cleaner)?;
        let mut registry = registry::Registry::new(heaps.len())?;

        // A node can be open as soon as it is there, and then the module has to stay. So nothing fails from here on.
        if let Some(heap) = own {
            if let Err(error) = rockchip::add(heap) {
                pr_err!("/dev/rk_dma_heap: the node cannot be made: {:?}\n", error);
            }
        }
        for heap in heaps {
            registry.add(heap);
        }
        Ok(Self {
            _procfs: procfs,
            _pool_sizes: pool_sizes,
            _registry: registry,
            _rockchip: rockchip,
            _pools: pools,
            _keeping: keeping,
            _all_buffers: all_buffers,
        })
    }
}
