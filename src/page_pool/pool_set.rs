// SPDX-License-Identifier: GPL-2.0

//! All pools, with their common limit, the thread that prepares their backlogs, and their shrinker.

use super::{
    prefill::Filling,
    MemoryType,
    Pool, //
};
use crate::{
    abstractions::{
        background::{
            Background,
            DelayedWork,
            Priority,
            Thread, //
        },
        cache_cleaner::Cleaner,
        memory_cgroup::Charger,
        shrinker::{
            Shrink,
            Shrinker, //
        },
        sysfs::Number, //
    },
    decisions::ram_share::{
        mib_of_pages,
        pages_of_mib, //
    },
    watermarks::{
        self,
        Loans, //
    }, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// The delay before the thread prepares a backlog, in milliseconds: buffers freed together cost one
/// wake-up.
pub(super) const BATCH_DELAY_MS: u32 = 10;

/// The state and the services that all pools share.
pub(crate) struct PoolContext {
    /// Cleans pages of write-combined memory.
    pub(crate) cleaner: Arc<Cleaner>,
    /// Charges allocated pages to a memory cgroup, if the module is loaded with `mem_accounting`.
    pub(crate) charger: Option<Charger>,
    /// The limit for ready pages in all pools, in pages.
    limit: usize,
    /// The number of ready pages in all pools, and of those being prepared for them.
    ready: Atomic<usize>,
    /// The pages of the kernel's reserve that small buffers use.
    pub(super) loans: Loans,
    /// Wakes up the thread.
    work: Arc<DelayedWork>,
}

impl PoolContext {
    /// Creates the context of an empty set of pools. May sleep. Fails with `ENOMEM`.
    pub(super) fn new(
        cleaner: Arc<Cleaner>,
        charger: Option<Charger>,
        limit: usize,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                cleaner,
                charger,
                limit,
                ready: Atomic::new(0),
                loans: Loans::new(),
                work: DelayedWork::new()?,
            },
            GFP_KERNEL,
        )?)
    }

    /// Counts `pages` pages that are going to be ready. Returns false, and counts nothing, if that
    /// exceeds the limit. Does not sleep.
    #[inline]
    pub(crate) fn try_reserve(&self, pages: usize) -> bool {
        let before = self.ready.fetch_add(pages, Relaxed);
        if before.saturating_add(pages) > self.limit {
            self.unreserve(pages);
            return false;
        }
        true
    }

    /// Uncounts `pages` pages that are not in a pool any more. Does not sleep.
    pub(crate) fn unreserve(&self, pages: usize) {
        self.ready.fetch_sub(pages, Relaxed);
    }

    /// Queues the preparation of the backlogs, after [`BATCH_DELAY_MS`]. Does not sleep.
    pub(crate) fn queue_preparation(&self) {
        self.work.queue(BATCH_DELAY_MS);
    }
}

/// The pools of the system heaps.
///
/// The fields are dropped in this order: the shrinker and the thread stop before the pools are
/// dropped.
#[must_use = "dropping this stops the thread and the shrinker"]
pub(crate) struct Pools {
    _no_prefill: NoPrefill,
    _shrinker: Shrinker<Cache>,
    _thread: Thread<PoolSet>,
    _prefill: Option<Thread<Filling>>,
    set: Arc<PoolSet>,
}

impl Pools {
    /// Creates a pool for each of `memory_types`, with a common limit of `limit` ready pages. With
    /// `charge`, allocated pages are charged to the memory cgroup of the allocating process.
    ///
    /// May sleep. Fails with `ENOMEM`, with `EINTR` on a fatal signal, and as [`Charger::new`]
    /// does.
    pub(crate) fn new(
        memory_types: &[(&'static CStr, MemoryType)],
        limit: usize,
        charge: bool,
        cleaner: Arc<Cleaner>,
    ) -> Result<Self> {
        let charger = match charge.then(Charger::new).transpose() {
            Ok(charger) => charger,
            Err(error) => {
                pr_err!(
                    "mem_accounting=1: this kernel cannot charge pages to memory cgroups: \
                     load the module with mem_accounting=0\n"
                );
                return Err(error);
            }
        };
        let context = PoolContext::new(cleaner, charger, limit)?;
        let mut pools = KVec::with_capacity(memory_types.len(), GFP_KERNEL)?;
        for (name, memory_type) in memory_types {
            pools.push(
                Arc::pin_init(Pool::new(name, *memory_type, context.clone()), GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        let set = Arc::new(PoolSet { pools, context }, GFP_KERNEL)?;
        let prefill = |pool: &Arc<Pool>| {
            let work = pool.prefill.work.clone();
            let filling = Arc::new(Filling(set.clone()), GFP_KERNEL)?;
            Thread::start(c"rk_dma_heap_pre", Priority::Lowest, work, filling)
        };
        Ok(Self {
            _prefill: set.filled_in_advance().map(prefill).transpose()?,
            _thread: Thread::start(
                c"rk_dma_heap",
                Priority::Lowest,
                set.context.work.clone(),
                set.clone(),
            )?,
            _shrinker: Shrinker::register(
                c"rk_dma_heap",
                Arc::new(Cache(set.clone()), GFP_KERNEL)?,
            )?,
            _no_prefill: NoPrefill(set.clone()),
            set,
        })
    }

    /// Returns the pools, in the order of their memory types.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.set.pools.iter()
    }

    /// Returns the set of all pools, to shrink it or to read its total size.
    pub(crate) fn set(&self) -> Arc<PoolSet> {
        self.set.clone()
    }
}

/// Lets the thread that fills a pool end soon when this is dropped.
struct NoPrefill(Arc<PoolSet>);

impl Drop for NoPrefill {
    fn drop(&mut self) {
        if let Some(pool) = self.0.filled_in_advance() {
            pool.prefill.set(0);
        }
    }
}

/// The set of all pools, shared by the thread, the shrinker and the heaps.
pub(crate) struct PoolSet {
    pub(super) pools: KVec<Arc<Pool>>,
    pub(super) context: Arc<PoolContext>,
}

impl PoolSet {
    /// Returns the pool that is filled in advance: the first one, of the heap that all programs
    /// use.
    pub(super) fn filled_in_advance(&self) -> Option<&Arc<Pool>> {
        self.pools.first()
    }

    /// Returns how much of a pool is filled in advance, in MiB.
    pub(crate) fn prefill_mib(&self) -> usize {
        let size = self.filled_in_advance().map(|pool| pool.prefill.size());
        mib_of_pages(size.unwrap_or(0))
    }

    /// Sets how much of a pool is filled in advance. If that is less than before, the pool's pages
    /// above it have been freed when this returns. May sleep. Fails with `EINVAL` if the limit of
    /// all pools is lower, and with `EINTR` on a fatal signal.
    pub(crate) fn set_prefill_mib(&self, mib: u32) -> Result {
        let pages = pages_of_mib(mib);
        if pages > self.context.limit {
            return Err(EINVAL);
        }
        let pool = self.filled_in_advance().ok_or(EINVAL)?;
        pool.set_prefill(pages)
    }

    /// Frees pages of the other pools, so that `pages` pages more can be ready in the first one.
    pub(super) fn make_room(&self, pages: usize) {
        let mut left = pages;
        for pool in self.pools.iter().skip(1) {
            left = left.saturating_sub(pool.free_some(left));
        }
    }

    /// Returns the limit for ready pages in all pools, in pages.
    pub(crate) fn limit(&self) -> usize {
        self.context.limit
    }
}

/// The size of the ready pages of all pools, in KiB.
#[vtable]
impl Number for PoolSet {
    fn number(&self) -> usize {
        self.pools
            .iter()
            .map(|pool| pool.stats().ready)
            .sum::<usize>()
            << (PAGE_SHIFT - 10)
    }
}

impl Background for PoolSet {
    fn run(&self) {
        for pool in &self.pools {
            pool.process_backlog();
        }
    }
}

#[vtable]
impl Shrink for PoolSet {
    fn count(&self) -> usize {
        self.pools
            .iter()
            .map(|pool| pool.stats())
            .map(|stats| stats.ready + stats.backlog)
            .sum()
    }

    /// Begins with the last one: the first one may be filled in advance.
    fn scan(&self, pages: usize) -> usize {
        self.pools
            .iter()
            .rev()
            .fold(0, |freed, pool| match pages.saturating_sub(freed) {
                0 => freed,
                wanted => freed + pool.shrink(wanted),
            })
    }
}

/// All pools, as the kernel shrinks them.
struct Cache(Arc<PoolSet>);

#[vtable]
impl Shrink for Cache {
    /// Returns what is not filled in advance as long as there is enough of the page cache, which is
    /// reclaimed first: the kernel asks for a part of everything, also where files alone have
    /// filled memory.
    fn count(&self) -> usize {
        let pages = self.0.count();
        let pool = self.0.filled_in_advance();
        let prefilled = pool.map_or(0, |pool| pool.prefill.size().min(pool.kept()));
        match prefilled > 0 && !watermarks::is_short() {
            true => pages.saturating_sub(prefilled),
            false => pages,
        }
    }

    fn scan(&self, pages: usize) -> usize {
        self.0.scan(pages)
    }
}
