// SPDX-License-Identifier: GPL-2.0

//! Page pools for the system heaps.
//!
//! A [`Pool`] serves buffers of one [`MemoryType`]. Its *ready* pages are zeroed and, for
//! write-combined memory, clean, so allocating them costs nothing per byte. Freed pages are added
//! to the *backlog* in constant time, and a thread of low priority ([`Pools`]) prepares them. An
//! allocation that finds no ready pages takes pages from the backlog and prepares them itself,
//! before it allocates from the buddy allocator.
//!
//! # Scaling
//!
//! Each CPU has a shard with its own lock, which serves single pages and takes freed pages. The
//! depot is shared by all CPUs. A shard is refilled from it in batches.
//!
//! # Locks
//!
//! The locks of the shards and of the depot are spin locks. No two of them are held at a time, and
//! none while pages are allocated, freed or zeroed. So a thread that reclaims holds none of them,
//! and the shrinker may acquire them in every context.
//!
//! # Invariants
//!
//! A pool's counters are never less than the number of pages in its lists: pages are counted before
//! they are inserted, and uncounted after they are removed.

mod free;
mod pool_set;
mod pooled_pages;
mod prefill;
mod runs;
mod shards;
#[cfg(CONFIG_KUNIT)]
mod tests;

pub(crate) use pool_set::{
    PoolSet,
    Pools, //
};
pub(crate) use pooled_pages::PooledPages;

use crate::{
    abstractions::{
        pages::{
            PageRun,
            Reclaim,
            RunList,
            Zone, //
        },
        reclaimable::ReclaimablePages,
        shrinker::Shrink,
        signal, //
    },
    decisions::memory::Caching,
    trace,
    watermarks, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};
use pool_set::PoolContext;
use prefill::Prefill;
use runs::{
    Runs,
    ORDERS, //
};
use shards::Shards;

/// The number of single pages by which a shard is refilled from the depot, beyond the pages that
/// are requested.
const SHARD_BATCH: usize = 15;

/// The number of ready pages that are charged at a time.
const CHARGE_BATCH: usize = 256;

/// The number of ready pages in a shard above which freed pages are moved to the depot.
const SHARD_HIGH: usize = 2 * SHARD_BATCH;
static_assert!(SHARD_HIGH > SHARD_BATCH);

/// A type of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryType {
    /// The zone that the pages are allocated from.
    pub(crate) zone: Zone,
    /// How the CPU maps the pages.
    pub(crate) caching: Caching,
}

/// The statistics of a pool.
#[derive(Clone, Copy, Default)]
pub(crate) struct PoolStats {
    /// The number of ready pages.
    pub(crate) ready: usize,
    /// The number of freed pages that are not prepared.
    pub(crate) backlog: usize,
    /// The number of runs that were allocated ready.
    pub(crate) hits: usize,
    /// The number of runs that an allocation had to prepare or to get from the buddy allocator.
    pub(crate) misses: usize,
    /// The number of pages that the shrinker freed.
    pub(crate) reclaimed: usize,
}

/// The pool of one type of memory.
#[pin_data(PinnedDrop)]
pub(crate) struct Pool {
    name: &'static CStr,
    memory_type: MemoryType,
    context: Arc<PoolContext>,
    /// The ready runs that all CPUs share.
    #[pin]
    depot: SpinLock<Runs>,
    shards: Shards,
    #[pin]
    prefill: Prefill,
    /// Counts the pages of the pool as reclaimable.
    reclaimable: ReclaimablePages,
    ready: Atomic<usize>,
    backlog: Atomic<usize>,
    hits: Atomic<usize>,
    misses: Atomic<usize>,
    reclaimed: Atomic<usize>,
}

impl Pool {
    fn new(
        name: &'static CStr,
        memory_type: MemoryType,
        context: Arc<PoolContext>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            name,
            memory_type,
            context,
            depot <- new_spinlock!(Runs::new()),
            shards: Shards::new()?,
            prefill <- Prefill::new()?,
            reclaimable: ReclaimablePages::new(),
            ready: Atomic::new(0),
            backlog: Atomic::new(0),
            hits: Atomic::new(0),
            misses: Atomic::new(0),
            reclaimed: Atomic::new(0),
        })
    }

    /// Returns the name of the heap that the pool serves.
    pub(crate) fn name(&self) -> &'static CStr {
        self.name
    }

    /// Returns the pool's statistics.
    pub(crate) fn stats(&self) -> PoolStats {
        PoolStats {
            ready: self.ready.load(Relaxed),
            backlog: self.backlog.load(Relaxed),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            reclaimed: self.reclaimed.load(Relaxed),
        }
    }

    /// Returns the number of pages in the pool.
    fn kept(&self) -> usize {
        self.ready.load(Relaxed) + self.backlog.load(Relaxed)
    }

    /// Allocates `pages` prepared pages, in the largest runs available.
    ///
    /// For each order, largest first, takes ready runs, then runs from the backlog, then free
    /// memory. If that leaves too little free memory, shrinks `kept`. May sleep. Fails with
    /// `ENOMEM`, with `EINTR` on a fatal signal, and as
    /// [`Charger::charge_run`](crate::abstractions::memory_cgroup::Charger::charge_run) does. Pages
    /// are charged as they are taken, before they are zeroed, so a cgroup at its limit takes none
    /// from others.
    pub(crate) fn allocate<'a>(
        self: &'a Arc<Self>,
        pages: usize,
        kept: &'a impl Shrink,
    ) -> impl Init<PooledPages, Error> + 'a {
        PooledPages::new(self, move |runs| self.allocate_runs(runs, pages, kept))
    }

    /// Allocates `pages` pages into `runs`, which must be empty. Returns how many of them are lent.
    ///
    /// If that fails, what the pool had goes back to it. Attempts in vain would take it from the
    /// other users of the pool otherwise.
    fn allocate_runs(&self, runs: &mut Runs, pages: usize, kept: &impl Shrink) -> Result<usize> {
        let mut pooled = 0;
        self.take_runs(runs, pages, kept, &mut pooled)
            .inspect_err(|_| self.put_back(runs, pooled))
    }

    /// Puts up to `pages` pages of prepared runs into the pool, as many as the limit has room for.
    /// The others are left. Does not sleep.
    fn put_back(&self, runs: &mut Runs, pages: usize) {
        let (mut back, mut missing) = (Runs::new(), pages);
        for (index, order) in ORDERS.iter().enumerate() {
            let (Some(from), Some(to)) = (runs.list(index), back.list(index)) else {
                continue;
            };
            for _ in 0..from.runs().min(missing >> order) {
                if !self.context.try_reserve(1 << order) {
                    break;
                }
                from.move_to(1, to);
                missing -= 1 << order;
            }
        }
        if let Some(charger) = &self.context.charger {
            pooled_pages::uncharge(charger, &mut back);
        }
        self.add_ready(&mut back);
    }

    /// Moves prepared runs, for which the limit has room, into the depot. Does not sleep.
    fn add_ready(&self, runs: &mut Runs) {
        self.ready.fetch_add(runs.pages(), Relaxed);
        self.reclaimable.enter(runs, || self.kept());
        self.depot.lock().append(runs);
    }

    /// Moves `pages` pages into `runs`. Returns how many of them are lent, and adds those that the
    /// pool had to `pooled`, also on failure.
    fn take_runs(
        &self,
        runs: &mut Runs,
        pages: usize,
        kept: &impl Shrink,
        pooled: &mut usize,
    ) -> Result<usize> {
        let (mut missing, mut prepared) = (pages, false);
        // An order that is exhausted is not tried again for this buffer, so the runs are in
        // descending order.
        for (index, order) in ORDERS.iter().enumerate() {
            if missing >> order == 0 {
                continue;
            }
            missing -= self.take_charged(index, missing >> order, runs, pooled)? << order;
            if missing == 0 {
                break;
            }
            if missing >> order > 0 && !watermarks::can_exist(missing, kept) {
                return Err(ENOMEM);
            }
            while missing >> order > 0 {
                if signal::fatal_pending() {
                    return Err(EINTR);
                }
                match self.prepare_run(index, pooled)? {
                    Some(run) => runs.push(run),
                    None => break,
                }
                missing -= 1 << order;
                prepared = true;
            }
        }
        if missing > 0 {
            return Err(ENOMEM);
        }
        // If all runs were ready, no free memory was used.
        if prepared {
            return watermarks::ensure_reserve(pages, kept, &self.context.loans);
        }
        Ok(0)
    }

    /// Moves up to `wanted` ready runs of order `ORDERS[index]` into `runs`, charges them if
    /// accounting is on, and returns their number. Adds their pages to `pooled`, also on failure.
    ///
    /// May sleep. Fails with `ENOMEM` if the memory cgroup of the calling task is at its limit. At
    /// most [`CHARGE_BATCH`] pages, or one run, were taken beyond it then.
    fn take_charged(
        &self,
        index: usize,
        wanted: usize,
        runs: &mut Runs,
        pooled: &mut usize,
    ) -> Result<usize> {
        let Some(order) = ORDERS.get(index) else {
            return Ok(0);
        };
        let Some(charger) = &self.context.charger else {
            let taken = self.take_ready(index, wanted, runs);
            *pooled += taken << order;
            return Ok(taken);
        };
        let batch = (CHARGE_BATCH >> order).max(1);
        let mut taken = 0;
        loop {
            let mut fresh = Runs::new();
            let count = self.take_ready(index, batch.min(wanted - taken), &mut fresh);
            if count == 0 {
                return Ok(taken);
            }
            taken += count;
            *pooled += count << order;
            let charged = pooled_pages::charge(charger, &mut fresh);
            runs.append(&mut fresh);
            charged?;
        }
    }

    /// Moves up to `wanted` ready runs of order `ORDERS[index]` into `runs` and returns their
    /// number.
    fn take_ready(&self, index: usize, wanted: usize, runs: &mut Runs) -> usize {
        if wanted == 0 || self.ready.load(Relaxed) == 0 {
            return 0;
        }
        let (Some(list), single) = (runs.list(index), index + 1 == ORDERS.len()) else {
            return 0;
        };
        // Shards have single pages only. Larger runs are few, and each is worth acquiring a shared
        // lock.
        let mut missing = wanted;
        if single {
            self.shards
                .this_cpu(|shard| missing -= shard.ready.move_batch(wanted, list));
        }
        while missing > 0 {
            let moved = self.take_from_depot(single, index, missing, list);
            if moved == 0 {
                break;
            }
            missing -= moved;
        }
        let taken = wanted - missing;
        if taken == 0 {
            return 0;
        }
        self.ready.fetch_sub(taken << list.order(), Relaxed);
        // The list was empty before: each order is tried once.
        self.reclaimable.leave(list, || self.kept());
        self.context.unreserve(taken << list.order());
        self.hits.fetch_add(taken, Relaxed);
        trace::pool_hit(self.name, list.order(), taken);
        // Memory may fail while it is in the pool.
        taken - list.drop_failed()
    }

    /// Moves up to `wanted` runs of order `ORDERS[index]` from the depot to `list`, as many as its
    /// lock may be held for, and returns their number. If that is all of them, also refills this
    /// CPU's shard with `single` pages.
    #[inline]
    fn take_from_depot(
        &self,
        single: bool,
        index: usize,
        wanted: usize,
        list: &mut RunList,
    ) -> usize {
        let mut refill = RunList::new(list.order());
        let (mut moved, mut left) = (0, 0);
        if let Some(source) = self.depot.lock().list(index) {
            moved = source.move_batch(wanted, list);
            if single && moved == wanted {
                source.move_batch(SHARD_BATCH, &mut refill);
            }
            left = source.pages();
        }
        self.prefill.taken(index, left);
        if refill.runs() > 0 {
            self.shards
                .this_cpu(|shard| shard.ready.append(&mut refill));
        }
        moved
    }

    /// Prepares a run of order `ORDERS[index]` from the backlog, which adds its pages to `pooled`,
    /// or else from free memory. Returns `None` if there is none.
    fn prepare_run(&self, index: usize, pooled: &mut usize) -> Result<Option<PageRun>> {
        let Some(order) = ORDERS.get(index) else {
            return Ok(None);
        };
        let run = match self.take_backlog(index) {
            Some(mut run) => {
                if let Err(error) = self.charge(&mut run) {
                    let mut runs = Runs::new();
                    runs.push(run);
                    self.free(&mut runs);
                    return Err(error);
                }
                self.zero_and_clean(&mut run)?;
                *pooled += 1 << order;
                run
            }
            None => {
                let reclaim = if *order == 0 {
                    Reclaim::Direct
                } else {
                    Reclaim::Never
                };
                let run = PageRun::allocate(*order, self.memory_type.zone, reclaim);
                let Some(mut run) = run else {
                    return Ok(None);
                };
                self.charge(&mut run)?;
                // The buddy allocator has zeroed the run.
                if self.memory_type.caching == Caching::WriteCombined {
                    run.clean(&self.context.cleaner)?;
                }
                run
            }
        };
        self.misses.fetch_add(1, Relaxed);
        trace::pool_miss(self.name, *order, 1);
        Ok(Some(run))
    }

    /// Charges `run` if accounting is on. May sleep. Fails as
    /// [`Charger::charge_run`](crate::abstractions::memory_cgroup::Charger::charge_run) does.
    fn charge(&self, run: &mut PageRun) -> Result {
        match &self.context.charger {
            Some(charger) => charger.charge_run(run),
            None => Ok(()),
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Pool {
    fn drop(self: Pin<&mut Self>) {
        // One by one, because each run that leaves the pool is uncounted.
        while self.take_any().is_some() {}
    }
}
