// SPDX-License-Identifier: GPL-2.0

//! Freed pages: the backlog, its preparation, and the shrinker's part.

use super::{
    pooled_pages,
    Pool,
    Runs,
    ORDERS,
    SHARD_BATCH,
    SHARD_HIGH, //
};
use crate::{
    abstractions::pages::{
        PageRun,
        RunList, //
    },
    decisions::memory::Caching,
    trace, //
};
use kernel::{
    pr_warn_once,
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The size limit, in pages, for buffers that are prepared when they are freed. That takes less
/// time than waking up the thread.
pub(super) const MAX_INLINE_PREPARE: usize = 4;

impl Pool {
    /// Frees the pages of a buffer into the pool. Does not sleep.
    pub(super) fn free(&self, runs: &mut Runs) {
        let pages = runs.pages();
        if let Some(charger) = &self.context.charger {
            pooled_pages::uncharge(charger, runs);
        }
        if pages <= MAX_INLINE_PREPARE {
            while let Some(page) = runs.pop_smallest() {
                self.refill_this_cpu(page);
            }
        } else {
            self.backlog.fetch_add(pages, Relaxed);
            self.reclaimable.enter(runs, || self.kept());
            self.shards.this_cpu(|shard| shard.backlog.append(runs));
            trace::deferred_free(self.name, pages);
            self.context.queue_preparation();
        }
    }

    /// Frees the pages of a buffer, which are lent, to the buddy allocator. Does not sleep.
    pub(super) fn end_loan(&self, runs: &mut Runs, lent: usize) {
        if let Some(charger) = &self.context.charger {
            pooled_pages::uncharge(charger, runs);
        }
        *runs = Runs::new();
        self.context.loans.end(lent);
    }

    /// Zeroes a freed run and, for write-combined memory, cleans it.
    pub(super) fn zero_and_clean(&self, run: &mut PageRun) -> Result {
        run.zero();
        match self.memory_type.caching {
            Caching::Cached => Ok(()),
            Caching::WriteCombined => run.clean(&self.context.cleaner),
        }
    }

    /// Prepares `run` and counts it as ready. Frees it and returns `None` if the pools have reached
    /// their limit.
    #[inline(always)]
    fn prepare_within_limit(&self, mut run: PageRun) -> Option<PageRun> {
        let pages = run.pages();
        if !self.context.try_reserve(pages) {
            return None;
        }
        if self.zero_and_clean(&mut run).is_err() {
            self.context.unreserve(pages);
            return None;
        }
        self.ready.fetch_add(pages, Relaxed);
        self.reclaimable.enter(&run, || self.kept());
        Some(run)
    }

    /// Returns whether `run` can be used again: nobody else refers to it, which is warned of once,
    /// and its memory has not failed. Dropped, a run to which somebody refers is freed with the
    /// last reference.
    #[inline]
    fn is_reusable(&self, run: &PageRun) -> bool {
        let is_shared = run.is_shared();
        if is_shared {
            self.warn_about_shared(run);
        }
        !is_shared && !run.has_failed()
    }

    #[cold]
    fn warn_about_shared(&self, run: &PageRun) {
        pr_warn_once!(
            "heap {}: {} pages are not used again, they were freed while a driver or a mapping \
             refers to them; drop the references before the buffer\n",
            self.name,
            run.pages()
        );
    }

    /// Prepares a single page for this CPU's shard, and moves surplus pages to the depot.
    fn refill_this_cpu(&self, page: PageRun) {
        if !self.is_reusable(&page) {
            return;
        }
        let Some(page) = self.prepare_within_limit(page) else {
            return;
        };
        let mut surplus = RunList::new(page.order());
        self.shards.this_cpu(|shard| {
            shard.ready.push(page);
            if shard.ready.runs() > SHARD_HIGH {
                shard.ready.move_to(SHARD_HIGH - SHARD_BATCH, &mut surplus);
            }
        });
        if surplus.runs() > 0 {
            self.depot.lock().append_list(&mut surplus);
        }
    }

    /// Prepares a run for the depot.
    fn refill_depot(&self, run: PageRun) {
        if let Some(run) = self.prepare_within_limit(run) {
            self.depot.lock().push(run);
        }
    }

    /// Takes a run of order `ORDERS[index]` from the backlog that can be used again.
    pub(super) fn take_backlog(&self, index: usize) -> Option<PageRun> {
        while self.backlog.load(Relaxed) > 0 {
            let run = self.shards.find(|shard| shard.backlog.list(index)?.pop())?;
            self.backlog.fetch_sub(run.pages(), Relaxed);
            self.reclaimable.leave(&run, || self.kept());
            if self.is_reusable(&run) {
                return Some(run);
            }
        }
        None
    }

    /// Prepares all runs of the backlog for the depot.
    pub(super) fn process_backlog(&self) {
        for index in 0..ORDERS.len() {
            while let Some(run) = self.take_backlog(index) {
                self.refill_depot(run);
            }
        }
        self.reclaimable.settle(|| self.kept());
    }

    /// Frees at least `pages` pages, or all if the pool has fewer, and returns their number.
    ///
    /// Frees the backlog first, because it is not prepared, and the smallest orders first, because
    /// they are the easiest to allocate again. Does not sleep.
    pub(super) fn shrink(&self, pages: usize) -> usize {
        let freed = self.free_some(pages);
        self.reclaimed.fetch_add(freed, Relaxed);
        if freed > 0 {
            self.prefill.shrunk();
            trace::shrink(self.name, pages, freed);
        }
        freed
    }

    /// Does what [`Pool::shrink`] does for the pools' own limits. Nobody needed the pages, so they
    /// do not count as reclaimed.
    pub(super) fn free_some(&self, pages: usize) -> usize {
        let mut freed = 0;
        while freed < pages {
            let Some(run) = self.take_any() else {
                break;
            };
            freed += run.pages();
        }
        self.reclaimable.settle(|| self.kept());
        freed
    }

    /// Removes the run that is the least expensive to lose.
    pub(super) fn take_any(&self) -> Option<PageRun> {
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
        self.reclaimable.leave(&run, || self.kept());
        self.context.unreserve(run.pages());
        Some(run)
    }
}
