// SPDX-License-Identifier: GPL-2.0

//! Page pools: pages that are ready to be handed out, and pages that came back and are not ready
//! yet.
//!
//! A [`Pool`] serves buffers of one kind of memory. What it holds *ready* is zeroed, and clean
//! where the kind is write-combined, so that taking it costs nothing per byte. What comes back goes
//! to the *backlog* in constant time; a thread of low priority ([`Pools`]) makes it ready. Whoever
//! finds nothing ready takes from the backlog and does that work himself, before the kernel is
//! asked for more.
//!
//! # Scaling
//!
//! Each CPU has a shard with a lock of its own: single pages are served from there, and what comes
//! back goes there. Only what a shard lacks is taken from the depot that all CPUs share, many pages
//! at a time.
//!
//! # Locks
//!
//! A shard's lock and the depot's are spin locks that are never held together, never held while
//! pages are allocated, freed or zeroed, and so never held by anyone who reclaims. The shrinker can
//! take them anywhere.
//!
//! # Invariants
//!
//! A pool's counters never show less than its lists hold: pages are counted before they are put in,
//! and no longer counted after they were taken out.

mod pool_set;
mod runs;
mod shards;
#[cfg(CONFIG_KUNIT)]
mod tests;

pub(crate) use pool_set::{
    PoolSet,
    Pools, //
};
use runs::{
    Runs,
    RunsSegments,
    ORDERS, //
};

use crate::{
    abstractions::{
        memory_cgroup::Charger,
        pages::{
            PageRun,
            Reclaim,
            RunList,
            Zone, //
        },
        signal, //
    },
    decisions::memory::{
        Caching,
        Memory, //
    },
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
use pool_set::Shared;
use shards::Shards;

/// A buffer up to this many pages is made ready at once when it comes back: that takes less time
/// than to wake a thread.
const PREPARE_AT_ONCE: usize = 4;

/// How many single pages a CPU takes from the depot at a time, beyond what it needs.
const REFILL_BATCH: usize = 15;

/// How many a CPU keeps when its own buffers come back, before it passes the surplus on to all.
const SHARD_HIGH: usize = 2 * REFILL_BATCH;

/// A kind of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Where it lies.
    pub(crate) zone: Zone,
    /// How the CPU sees it.
    pub(crate) caching: Caching,
}

/// What a pool holds and what it did.
#[derive(Clone, Copy, Default)]
pub(crate) struct PoolStats {
    /// Pages that are ready.
    pub(crate) ready: usize,
    /// Pages that came back and are not ready.
    pub(crate) backlog: usize,
    /// Runs that were taken ready.
    pub(crate) hits: usize,
    /// Runs that had to be made ready or allocated.
    pub(crate) misses: usize,
    /// Pages that were given back because memory was short.
    pub(crate) reclaimed: usize,
}

/// The pool of one kind of memory.
#[pin_data]
pub(crate) struct Pool {
    name: &'static CStr,
    kind: Kind,
    shared: Arc<Shared>,
    #[pin]
    depot: SpinLock<Runs>,
    shards: Shards,
    ready: Atomic<usize>,
    backlog: Atomic<usize>,
    hits: Atomic<usize>,
    misses: Atomic<usize>,
    reclaimed: Atomic<usize>,
}

impl Pool {
    fn new(name: &'static CStr, kind: Kind, shared: Arc<Shared>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            name,
            kind,
            shared,
            depot <- new_spinlock!(Runs::new()),
            shards: Shards::new()?,
            ready: Atomic::new(0),
            backlog: Atomic::new(0),
            hits: Atomic::new(0),
            misses: Atomic::new(0),
            reclaimed: Atomic::new(0),
        })
    }

    /// The name of the heap that the pool serves.
    pub(crate) fn name(&self) -> &'static CStr {
        self.name
    }

    /// What the pool holds and did.
    pub(crate) fn stats(&self) -> PoolStats {
        PoolStats {
            ready: self.ready.load(Relaxed),
            backlog: self.backlog.load(Relaxed),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            reclaimed: self.reclaimed.load(Relaxed),
        }
    }

    /// Collects `pages` pages, zeroed and ready to be seen as the pool's kind says, in runs as
    /// large as there are.
    ///
    /// What is ready is taken first, then the backlog, then free memory; `all` pools give way where
    /// too little of that would be left. May sleep. Fails with `ENOMEM`, and with `EINTR` where a
    /// fatal signal came first.
    pub(crate) fn collect<'a>(
        self: &'a Arc<Self>,
        pages: usize,
        all: &'a PoolSet,
    ) -> impl Init<PooledPages, Error> + 'a {
        try_init!(PooledPages {
            runs: Runs::new(),
            _: {
                self.fill(runs, pages, all)?;
            },
            pool: self.clone(),
        }? Error)
    }

    /// Collects `pages` pages into `runs`, which has none yet.
    fn fill(&self, runs: &mut Runs, pages: usize, all: &PoolSet) -> Result {
        let (mut missing, mut made) = (pages, false);
        // An order that has run out is not tried again for this buffer, so the runs come in falling
        // order.
        for (index, order) in ORDERS.iter().enumerate() {
            if missing >> order == 0 {
                continue;
            }
            missing -= self.take_ready(index, missing >> order, runs) << order;
            while missing >> order > 0 {
                if signal::fatal_pending() {
                    return Err(EINTR);
                }
                match self.prepare_run(index)? {
                    Some(run) => runs.push(run),
                    None => break,
                }
                missing -= 1 << order;
                made = true;
            }
        }
        if missing > 0 {
            return Err(ENOMEM);
        }
        // Where all of it was ready, the pools still have something that the kernel can take.
        if made {
            watermarks::ensure_reserve(all)?;
        }
        match &self.shared.charger {
            Some(charger) => charge(charger, runs),
            None => Ok(()),
        }
    }

    /// Takes up to `wanted` ready runs of order `ORDERS[index]` into `runs`; returns how many it
    /// were.
    fn take_ready(&self, index: usize, wanted: usize, runs: &mut Runs) -> usize {
        if wanted == 0 || self.ready.load(Relaxed) == 0 {
            return 0;
        }
        let (Some(list), single) = (runs.list(index), index + 1 == ORDERS.len()) else {
            return 0;
        };
        let before = list.runs();
        // Shards hold single pages only: larger runs are few, and each is worth taking a shared
        // lock.
        if single {
            self.shards
                .this_cpu(|shard| shard.ready.move_to(wanted, list));
        }
        let missing = wanted - (list.runs() - before);
        if missing > 0 {
            let mut spare = RunList::new(list.order());
            if let Some(source) = self.depot.lock().list(index) {
                source.move_to(missing, list);
                if single {
                    source.move_to(REFILL_BATCH, &mut spare);
                }
            }
            if spare.runs() > 0 {
                self.shards.this_cpu(|shard| shard.ready.append(&mut spare));
            }
        }
        let taken = list.runs() - before;
        if taken == 0 {
            return 0;
        }
        self.ready.fetch_sub(taken << list.order(), Relaxed);
        self.shared.release(taken << list.order());
        self.hits.fetch_add(taken, Relaxed);
        trace::pool_hit(self.name, list.order(), taken);
        taken
    }

    /// Makes a run of order `ORDERS[index]` ready that was not: from the backlog, else from free
    /// memory.
    fn prepare_run(&self, index: usize) -> Result<Option<PageRun>> {
        let Some(order) = ORDERS.get(index) else {
            return Ok(None);
        };
        let run = match self.take_backlog(index) {
            Some(mut run) => {
                self.zero_and_clean(&mut run)?;
                run
            }
            None => {
                let reclaim = if *order == 0 {
                    Reclaim::Direct
                } else {
                    Reclaim::Never
                };
                let Some(mut run) = PageRun::allocate(*order, self.kind.zone, reclaim) else {
                    return Ok(None);
                };
                if self.kind.caching == Caching::WriteCombined {
                    run.clean(&self.shared.cleaner)?;
                }
                run
            }
        };
        self.misses.fetch_add(1, Relaxed);
        trace::pool_miss(self.name, *order, 1);
        Ok(Some(run))
    }

    /// Does to a run that came back what has to be done before it is handed out again.
    fn zero_and_clean(&self, run: &mut PageRun) -> Result {
        run.zero();
        match self.kind.caching {
            Caching::Cached => Ok(()),
            Caching::WriteCombined => run.clean(&self.shared.cleaner),
        }
    }

    /// Takes the pages of a buffer back.
    fn put(&self, runs: &mut Runs) {
        let pages = runs.pages();
        if let Some(charger) = &self.shared.charger {
            uncharge(charger, runs);
        }
        if pages <= PREPARE_AT_ONCE {
            while let Some(page) = runs.pop_smallest() {
                self.refill_this_cpu(page);
            }
        } else {
            self.backlog.fetch_add(pages, Relaxed);
            self.shards.this_cpu(|shard| shard.backlog.append(runs));
            trace::deferred_free(self.name, pages);
            self.shared.wake();
        }
    }

    /// Makes `run` ready and counts it, or frees it where the pools hold as much as they may.
    fn prepare_for_pool(&self, mut run: PageRun) -> Option<PageRun> {
        let pages = run.pages();
        if !self.shared.reserve(pages) {
            return None;
        }
        if self.zero_and_clean(&mut run).is_err() {
            self.shared.release(pages);
            return None;
        }
        self.ready.fetch_add(pages, Relaxed);
        Some(run)
    }

    /// Makes a single page ready for this CPU. What the CPU has too many of goes to all.
    fn refill_this_cpu(&self, page: PageRun) {
        let Some(page) = self.prepare_for_pool(page) else {
            return;
        };
        let mut surplus = RunList::new(page.order());
        self.shards.this_cpu(|shard| {
            shard.ready.push(page);
            if shard.ready.runs() > SHARD_HIGH {
                shard.ready.move_to(SHARD_HIGH - REFILL_BATCH, &mut surplus);
            }
        });
        if surplus.runs() > 0 {
            self.depot.lock().append_list(&mut surplus);
        }
    }

    /// Makes a run ready for all CPUs.
    fn refill_depot(&self, run: PageRun) {
        if let Some(run) = self.prepare_for_pool(run) {
            self.depot.lock().push(run);
        }
    }

    /// Takes a run of order `ORDERS[index]` from the backlog.
    fn take_backlog(&self, index: usize) -> Option<PageRun> {
        if self.backlog.load(Relaxed) == 0 {
            return None;
        }
        let run = self.shards.find(|shard| shard.backlog.list(index)?.pop())?;
        self.backlog.fetch_sub(run.pages(), Relaxed);
        Some(run)
    }

    /// Works the backlog off.
    fn process_backlog(&self) {
        for index in 0..ORDERS.len() {
            while let Some(run) = self.take_backlog(index) {
                self.refill_depot(run);
            }
        }
    }

    /// Frees at least `pages` pages if there are so many, and returns how many it were: the backlog
    /// first, which is of no use yet, and the smallest orders first, which are the easiest to get
    /// again.
    fn shrink(&self, pages: usize) -> usize {
        let mut freed = 0;
        while freed < pages {
            let Some(run) = self.evict() else {
                break;
            };
            freed += run.pages();
        }
        self.reclaimed.fetch_add(freed, Relaxed);
        if freed > 0 {
            trace::shrink(self.name, pages, freed);
        }
        freed
    }

    fn evict(&self) -> Option<PageRun> {
        if let Some(run) = (0..ORDERS.len())
            .rev()
            .find_map(|index| self.take_backlog(index))
        {
            return Some(run);
        }
        if self.ready.load(Relaxed) == 0 {
            return None;
        }
        let run = self
            .shards
            .find(|shard| shard.ready.pop())
            .or_else(|| self.depot.lock().pop_smallest())?;
        self.ready.fetch_sub(run.pages(), Relaxed);
        self.shared.release(run.pages());
        Some(run)
    }
}

/// Charges all of `runs`, or nothing.
fn charge(charger: &Charger, runs: &Runs) -> Result {
    runs.try_for_each(|run| charger.charge(run))
        .inspect_err(|_| uncharge(charger, runs))
}

/// Takes back what was charged of `runs`.
fn uncharge(charger: &Charger, runs: &Runs) {
    let _ = runs.try_for_each(|run| {
        charger.uncharge(run);
        Ok(())
    });
}

/// The pages of a buffer, which go back to their pool.
pub(crate) struct PooledPages {
    runs: Runs,
    pool: Arc<Pool>,
}

// SAFETY: The runs are owned, and they do not change. `collect()` takes what is ready, which is
// zeroed and, where the kind asks for it, clean, and makes ready whatever else it takes.
unsafe impl Memory for PooledPages {
    type Segments<'a> = RunsSegments<'a>;

    fn segments(&self) -> RunsSegments<'_> {
        self.runs.segments()
    }

    fn pages(&self) -> usize {
        self.runs.pages()
    }

    fn caching(&self) -> Caching {
        self.pool.kind.caching
    }
}

impl Drop for PooledPages {
    fn drop(&mut self) {
        self.pool.put(&mut self.runs);
    }
}
