// SPDX-License-Identifier: GPL-2.0

//! The heaps: which memory they take, and within what limits. A heap is a file here and a row in [`Heaps::create`].

mod system;

use crate::{
    cache_cleaner::WRITE_COMBINED_WORKS,
    heap::Heap,
    memory::Caching,
    page_pool::{Kind, Pools},
    pages,
    parameters::Parameters,
};
use kernel::{prelude::*, sync::Arc};

/// Every heap that the machine can back, and what they share.
pub(crate) struct Heaps {
    /// The heaps.
    pub(crate) heaps: KVec<Arc<dyn Heap>>,
    /// The pools of the system heaps.
    pub(crate) pools: Pools,
}

impl Heaps {
    /// Makes the heaps; says in the log what is left out.
    ///
    /// May sleep. Fails with `ENOMEM`, or as [`Pools::new`] does.
    pub(crate) fn create(parameters: &Parameters) -> Result<Self> {
        let ram = pages::total_ram();
        let mut kinds = KVec::with_capacity(system::HEAPS.len(), GFP_KERNEL)?;
        for row in system::HEAPS {
            if possible(row) {
                kinds.push(row, GFP_KERNEL)?;
            }
        }
        let pools = Pools::new(
            &kinds,
            parameters.pool_pages(ram),
            parameters.mem_accounting,
        )?;
        let mut heaps: KVec<Arc<dyn Heap>> = KVec::with_capacity(kinds.len(), GFP_KERNEL)?;
        for pool in pools.iter() {
            let heap = system::SystemHeap::new(pool.clone(), parameters.buffer_pages(ram))?;
            heaps.push(Arc::new(heap, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self { heaps, pools })
    }
}

/// Whether this machine can have such a heap; if not, the log says why.
fn possible((name, kind): (&CStr, Kind)) -> bool {
    if kind.caching == Caching::WriteCombined && !WRITE_COMBINED_WORKS {
        pr_info!(
            "heap {}: left out, devices snoop the caches on this architecture\n",
            name
        );
        return false;
    }
    true
}
