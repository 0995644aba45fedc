// SPDX-License-Identifier: GPL-2.0

//! All pools together: their bound, the thread that works their backlogs off, and their shrinker.

use super::{
    Kind,
    Pool, //
};
use crate::abstractions::{
    background::{
        Background,
        DelayedWork,
        Thread, //
    },
    cache_cleaner::Cleaner,
    memory_cgroup::Charger,
    shrinker::{
        Shrink,
        Shrinker, //
    },
    sysfs::Number, //
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

/// How long a backlog waits for more before it is worked off, in milliseconds: a burst of releases
/// costs one wake-up.
const BATCH_DELAY_MS: u32 = 10;

/// What all pools have in common.
pub(crate) struct Shared {
    /// Makes pages ready that will be mapped write-combined.
    pub(crate) cleaner: Arc<Cleaner>,
    /// Charges what is handed out, if it is to be charged.
    pub(crate) charger: Option<Charger>,
    /// The most pages that all pools together may hold ready.
    limit: usize,
    /// How many they hold, or are about to.
    ready: Atomic<usize>,
    /// Prepares the backlogs.
    work: Arc<DelayedWork>,
}

impl Shared {
    /// May sleep. Fails with `ENOMEM`.
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
                work: DelayedWork::new()?,
            },
            GFP_KERNEL,
        )?)
    }

    /// Counts `pages` pages that are about to be ready; false where that would be more than may be.
    pub(crate) fn reserve(&self, pages: usize) -> bool {
        let before = self.ready.fetch_add(pages, Relaxed);
        if before.saturating_add(pages) > self.limit {
            self.release(pages);
            return false;
        }
        true
    }

    /// Counts `pages` pages off that are not in a pool any more.
    pub(crate) fn release(&self, pages: usize) {
        self.ready.fetch_sub(pages, Relaxed);
    }

    /// Has the backlogs worked off, a moment later.
    pub(crate) fn wake(&self) {
        self.work.queue(BATCH_DELAY_MS);
    }
}

/// The pools of the system heaps.
///
/// The fields are dropped in this order: nothing works on the pools any more when they are dropped.
pub(crate) struct Pools {
    _shrinker: Shrinker<PoolSet>,
    _thread: Thread<PoolSet>,
    set: Arc<PoolSet>,
}

impl Pools {
    /// Makes a pool for each of `kinds`; together they hold at most `limit` pages ready. With
    /// `charge`, what is handed out is charged to the memory cgroup of whoever asks for it.
    ///
    /// May sleep. Fails with `ENOMEM`, with `EINTR` where a fatal signal came first, or as
    /// [`Charger::new`] does.
    pub(crate) fn new(
        kinds: &[(&'static CStr, Kind)],
        limit: usize,
        charge: bool,
        cleaner: Arc<Cleaner>,
    ) -> Result<Self> {
        let charger = match charge.then(Charger::new).transpose() {
            Ok(charger) => charger,
            Err(error) => {
                pr_err!("mem_accounting=1: this kernel cannot charge pages to a memory cgroup\n");
                return Err(error);
            }
        };
        let shared = Shared::new(cleaner, charger, limit)?;
        let mut pools = KVec::with_capacity(kinds.len(), GFP_KERNEL)?;
        for (name, kind) in kinds {
            pools.push(
                Arc::pin_init(Pool::new(name, *kind, shared.clone()), GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        let set = Arc::new(PoolSet { pools, shared }, GFP_KERNEL)?;
        Ok(Self {
            _thread: Thread::start(c"rk_dma_heap", set.shared.work.clone(), set.clone())?,
            _shrinker: Shrinker::register(c"rk_dma_heap", set.clone())?,
            set,
        })
    }

    /// The pools, in the order of the kinds that they were made for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.set.pools.iter()
    }

    /// What knows their total, and has them give way.
    pub(crate) fn set(&self) -> Arc<PoolSet> {
        self.set.clone()
    }
}

/// The pools, as the thread, the shrinker and the heaps see them.
pub(crate) struct PoolSet {
    pub(super) pools: KVec<Arc<Pool>>,
    pub(super) shared: Arc<Shared>,
}

/// What all pools hold ready, in KiB.
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

impl Shrink for PoolSet {
    fn count(&self) -> usize {
        self.pools
            .iter()
            .map(|pool| pool.stats())
            .map(|stats| stats.ready + stats.backlog)
            .sum()
    }

    fn scan(&self, pages: usize) -> usize {
        self.pools
            .iter()
            .fold(0, |freed, pool| match pages.saturating_sub(freed) {
                0 => freed,
                wanted => freed + pool.shrink(wanted),
            })
    }
}
