// SPDX-License-Identifier: GPL-2.0

//! The pages of a buffer of a system heap, and their charge to a memory cgroup.

use super::{
    runs::RunsSegments,
    Pool,
    Runs, //
};
use crate::{
    abstractions::memory_cgroup::Charger,
    decisions::memory::{
        Caching,
        Memory, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Charges all of `runs`, or none of them on failure.
pub(super) fn charge(charger: &Charger, runs: &mut Runs) -> Result {
    runs.try_for_each_list(|list| charger.charge(list))
        .inspect_err(|_| uncharge(charger, runs))
}

/// Uncharges those of `runs` that are charged.
pub(super) fn uncharge(charger: &Charger, runs: &mut Runs) {
    let _ = runs.try_for_each_list(|list| {
        charger.uncharge(list);
        Ok(())
    });
}

/// Pages of a pool, which are freed into the pool when this is dropped.
#[must_use = "the pages are freed when this is dropped"]
pub(crate) struct PooledPages {
    runs: Runs,
    /// The number of pages that are lent, 0 or that of all runs. They are freed to the buddy
    /// allocator instead.
    lent: usize,
    pool: Arc<Pool>,
}

impl PooledPages {
    /// Initialises the pages by calling `allocate_runs` with an empty list, which returns how many
    /// are lent. If that fails, the runs that it has allocated are freed to the buddy allocator.
    pub(super) fn new<'a>(
        pool: &'a Arc<Pool>,
        allocate_runs: impl FnOnce(&mut Runs) -> Result<usize> + 'a,
    ) -> impl Init<Self, Error> + 'a {
        try_init!(Self {
            runs: Runs::new(),
            lent: allocate_runs(runs)?,
            pool: pool.clone(),
        }? Error)
    }
}

// SAFETY: The value owns its runs, and they do not change. `Pool::allocate()` takes ready pages,
// which are zeroed and, for write-combined memory, clean, and prepares all others.
unsafe impl Memory for PooledPages {
    type Segments<'a> = RunsSegments<'a>;

    fn segments(&self) -> RunsSegments<'_> {
        self.runs.segments()
    }

    fn pages(&self) -> usize {
        self.runs.pages()
    }

    fn chunks(&self, max_pages: usize) -> usize {
        self.runs.chunks(max_pages)
    }

    fn caching(&self) -> Caching {
        self.pool.memory_type.caching
    }
}

impl Drop for PooledPages {
    fn drop(&mut self) {
        match self.lent {
            0 => self.pool.free(&mut self.runs),
            lent => self.pool.end_loan(&mut self.runs, lent),
        }
    }
}
