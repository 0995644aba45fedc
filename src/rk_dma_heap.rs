// SPDX-License-Identifier: GPL-2.0

//! rk_dma_heap: every DMA-BUF heap that userspace expects, in one module.
//!
//! # Layers
//!
//! | directory | content | may import |
//! | --- | --- | --- |
//! | `src/decisions/` | checks, arithmetic and text; also built for the host | nothing |
//! | `src/abstractions/` | one kernel concept per file, no heaps | `decisions`, [`bindings`] |
//! | `src/` | the heaps' machinery, one noun per file | both |
//! | `heaps/`, `procfs/` | policy and output, in safe Rust | all but [`bindings`] |
//!
//! `tests/driver/tests/layers.rs` fails when an import runs against this table.
//!
//! # Path of a request
//!
//! A program's ioctl reaches a device node ([`heap_devices`], or the kernel's dma-heap core), which
//! calls a heap ([`heap`], `heaps/`). The heap allocates memory ([`page_pool`], [`range_cache`],
//! [`carveout`]) and exports it as a dma-buf ([`buffer`]). The [`ledger`] counts what each heap has
//! allocated, [`all_buffers`] records every dma-buf of the system, and `procfs/` prints both.
//!
//! # Lock order
//!
//! A lock may be acquired while locks with lower numbers are held, but not in the reverse order.
//!
//! 1. `rockchip::NODES`, then `heap_devices::HEAPS`: mutexes, held to add, remove or open a heap;
//!    never while a buffer is allocated or freed.
//! 2. The reservation lock of a dma-buf: acquired by the dma-buf core, and by readers of `/proc`
//!    for the attached devices. Then the lock of its importers: a mutex of
//!    [`exporter`](abstractions::exporter), held for CPU access without the former, and acquired
//!    under the lock of a process's memory map for its first view of a buffer that devices have
//!    had, and under that of the kernel's chain of notifiers for hibernation.
//! 3. The spin locks of a page pool's shards and depot ([`page_pool`]), and that of what is filled
//!    in advance: no two of them are held at a time, and no other lock is acquired under them.
//! 4. The spin lock of the [`range_cache`]. The kernel's spin locks of a contiguous memory area and
//!    of the page allocator are acquired under it. Those of its reserve of RAM, over the page
//!    allocator's. No two of them are held at a time.
//! 5. The name lock of a dma-buf, a spin lock, over `all_buffers::RECORDS`, a raw one. The latter
//!    is also acquired when a dma-buf of another exporter is released, where nobody may sleep with
//!    `PREEMPT_RT` either. No other lock is acquired under it, and nothing is allocated or freed.
//!    Then the spin locks of `all_buffers::records::own`, one for each CPU, acquired when a dma-buf
//!    of this module is exported or released. No two of them are held at a time. The spin lock of a
//!    dentry is acquired under them, and no other lock.
//! 6. The raw spin lock of a [`DelayedWork`](abstractions::background::DelayedWork), over that of
//!    the kthread worker. Acquired under 4 and, by an export, under the name lock.
//! 7. `rockchip::HEAPS` and `registry::HEAPS`: spin locks over the lists of heaps, which drivers
//!    may look up under locks of their own, so interrupts are disabled. No other lock is acquired
//!    under them.
//!
//! The mutexes of [`kept`](abstractions::kernel_mapping::kept) mappings are acquired under any of 1
//! and 2, and nothing is allocated under them. The kernel's chain of notifiers, which may be called
//! under any lock that is held across an allocation, only tries to acquire them. Under them the
//! kernel's spin locks of its address space are acquired, and no other lock.
//!
//! The lock of a [`CallGate`](abstractions::call_gate::CallGate) is a mutex, acquired with none of
//! these held. Under it none is acquired. The same holds for the spin lock of
//! [`KillableCalls`](abstractions::killable_call::KillableCalls), whose callers hold none of these
//! either: what a thread does for them may acquire a reservation lock, and takes any time. The
//! mutex of attempts at ranges of RAM in the [`range_cache`] is acquired with none of these held
//! too; memory is reclaimed under it. So are those of the tasks that set the size of its reserve of
//! RAM, over 4, or of what a pool has in advance, over 3.
//!
//! Pages are allocated with none of 3, 4 and 6 held. They are freed and zeroed with none held,
//! except for cached ranges: under 4, some microseconds at a time. The shrinkers acquire 3 and 4
//! only, so these are acquired under any lock that is held across a `GFP_KERNEL` allocation.
//!
//! # Statics
//!
//! Seven locks are statics, because the C functions that need them are called without data of
//! this module: `rockchip::HEAPS` and `registry::HEAPS` by drivers (`rk_dma_heap_find()`),
//! `rockchip::NODES` by drivers that add heaps,
//! `heap_devices::HEAPS` by `open()` of a character device, `all_buffers::RECORDS` by the function
//! hook and the tracepoint, those of `all_buffers::records::own` by each release of a dma-buf,
//! those of [`kept`](abstractions::kernel_mapping::kept) mappings by the chain of notifiers.
//! [`RkDmaHeap::init`] initialises them before anything can reach them.
//! Beside them are atomic flags in [`all_buffers`], [`buffer`], `procfs/advanced.rs` and
//! [`memory_failure`], and the totals of `all_buffers::records` and of kept mappings. All other
//! state belongs to [`RkDmaHeap`].

mod abstractions;
mod bindings;
mod decisions;

mod all_buffers;
mod allocate_ioctl;
mod buffer;
mod carveout;
mod exports;
mod heap;
mod heap_devices;
mod holders;
mod importer;
mod kept_memory;
mod ledger;
mod mapped_ranges;
mod pace;
mod page_arrays;
mod page_pool;
mod parameters;
mod range_allocator;
mod range_cache;
mod regions;
mod registry;
mod rockchip;
mod trace;
mod watermarks;

// The examples in the documentation, as KUnit tests.
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

use abstractions::{
    free_memory,
    kernel_mapping::kept::Keeping,
    memory_failure,
    sysfs, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

module! {
    type: RkDmaHeap,
    name: "rk_dma_heap",
    authors: ["The rk_dma_heap authors"],
    description: "DMA-BUF heaps for Rockchip and mainline userspace",
    license: "GPL v2",
    params: {
        advanced: u8 {
            default: 0,
            description: "1: reading /proc/rk_dmabuf/sgt maps dma-bufs that no device has mapped; \
                can be changed in /proc/rk_dmabuf/advanced (default 0)",
        },
        cache_states: u8 {
            default: 1,
            description: "0: maintain CPU caches whenever a device maps or unmaps a buffer; \
                1: not while neither a process nor the kernel maps it (default 1)",
        },
        contig_max_percent: u8 {
            default: 25,
            description: "Limit for the memory outside of contiguous areas that contiguous heaps \
                allocate when their area has no place, in percent of RAM (0 to 100, default 25)",
        },
        contig_reserve_mib: u32 {
            default: 0,
            description: "RAM that is taken early and kept ready for contiguous heaps that may use \
                memory outside of their area, in MiB, part of contig_max_percent; \
                can be changed in /proc/rk_dma_heap/contig_reserve_mib (default 0)",
        },
        default_names: u8 {
            default: 1,
            description: "0: leave dma-bufs without a name; \
                1: name them PID-THREADNAME when they are exported, those of other exporters too \
                unless track_all is 0 (default 1)",
        },
        keep_ranges: u8 {
            default: 1,
            description: "0: free contiguous memory to its area at once; \
                1: cache it for a second, for buffers of the same size; \
                can be changed in /proc/rk_dma_heap/keep_ranges (default 1)",
        },
        max_percent: u8 {
            default: 50,
            description: "Size limit for buffers of the system heaps, \
                in percent of RAM (1 to 100, default 50)",
        },
        mem_accounting: u8 {
            default: 0,
            description: "1: charge buffers of the system heaps \
                to the memory cgroup of the allocating process (default 0)",
        },
        pool_max_mib: u32 {
            default: 1024,
            description: "Limit for prepared memory in the page pools, in MiB (default 1024)",
        },
        pool_max_percent: u8 {
            default: 10,
            description: "Limit for prepared memory in the page pools, \
                in percent of RAM (0 to 100, default 10)",
        },
        pool_prefill_mib: u32 {
            default: 0,
            description: "Memory that is prepared in advance for the heap system, in MiB, part of \
                the former; can be changed in /proc/rk_dma_heap/pool_prefill_mib (default 0)",
        },
        track_all: u8 {
            default: 1,
            description: "0: name and record only this module's own dma-bufs; \
                1: those of all exporters, in /proc/rk_dmabuf (default 1)",
        },
    },
}

/// The loaded module. The fields are dropped in this order: those that can be reached from outside
/// are dropped first.
struct RkDmaHeap {
    _procfs: procfs::Nodes,
    _pool_size: sysfs::NumberFile<page_pool::PoolSet>,
    _rockchip_pool_size: sysfs::NumberFile<rockchip::PoolSizes>,
    _registry: registry::Registry,
    _rockchip: rockchip::Registration,
    _pools: page_pool::Pools,
    _range_service: range_cache::Service,
    _tracking: Option<buffer::Tracking>,
    _keeping: Keeping,
    _all_buffers: all_buffers::AllBuffers,
    _failures: memory_failure::Watch,
}

impl kernel::Module for RkDmaHeap {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: `init()` is called once, and nothing accesses the locks before it registers
        // something.
        unsafe {
            heap_devices::init_lock();
            registry::init_lock();
            rockchip::init_locks();
            all_buffers::init_lock();
        }
        // SAFETY: `init()` is called once, and exports nothing before this.
        let keeping = unsafe { Keeping::start() }?;
        let parameters = parameters::Parameters::read()?;
        // Before there is memory that may fail.
        let failures = memory_failure::Watch::start()?;
        let all_buffers =
            all_buffers::AllBuffers::start(parameters.track_all, parameters.default_names)?;
        let tracking = match parameters.cache_states {
            true => Some(buffer::Tracking::start()?),
            false => None,
        };
        let heaps::Heaps {
            mut heaps,
            rockchip,
            pools,
            ranges,
            range_service,
            kept,
            cleaner,
            lookup,
        } = heaps::Heaps::create(&parameters)?;
        let single_pages = rockchip::RkHeap::new_single_pages(
            c"rk-system-heap",
            parameters.buffer_pages(free_memory::total_ram()),
            kept,
        )?;
        let own_heap = rockchip.map(rockchip::RkHeap::new_own).transpose()?;
        if let Some(heap) = &own_heap {
            heaps.push(heap.clone(), GFP_KERNEL)?;
        }
        // Programs read Android's file or Rockchip's.
        let pool_size = sysfs::NumberFile::new(c"dma_heap", c"total_pools_kb", pools.set())?;
        let sizes = Arc::new(rockchip::PoolSizes(pools.set()), GFP_KERNEL)?;
        let rockchip_pool_size =
            sysfs::NumberFile::new(c"rk_dma_heap", c"rk_total_pools_kb", sizes)?;
        let area = own_heap.as_ref().and_then(|heap| heap.area());
        let procfs = procfs::create(&parameters, ranges, pools.set(), lookup.as_ref(), area)?;
        let rockchip = rockchip::Registration::new(cleaner)?;
        // It has no buffers, and so no node.
        rockchip::add(single_pages, false)?;
        let mut registry = registry::Registry::new(heaps.len())?;

        // An open node pins the module, and a node can be opened as soon as it exists. So the
        // initialisation must not fail from here on.
        if let Some(heap) = own_heap {
            if let Err(error) = rockchip::add(heap, true) {
                pr_err!(
                    "/dev/rk_dma_heap: left out, its device node cannot be created: {:?}\n",
                    error
                );
            }
        }
        for heap in heaps {
            registry.add(heap);
        }
        Ok(Self {
            _procfs: procfs,
            _pool_size: pool_size,
            _rockchip_pool_size: rockchip_pool_size,
            _registry: registry,
            _rockchip: rockchip,
            _pools: pools,
            _range_service: range_service,
            _tracking: tracking,
            _keeping: keeping,
            _all_buffers: all_buffers,
            _failures: failures,
        })
    }
}
