// SPDX-License-Identifier: GPL-2.0

//! Ready pages that nobody has freed: a thread fills a pool in advance.
//!
//! Each order has a part of the size and marks of its own. Below the low mark of an order the
//! thread, which has the lowest priority, allocates runs until the high mark is reached, one at a
//! time and only if memory is not short. They are pages of the pool like all others: they count
//! against the common limit, where other pools make room for them, and the shrinker frees them.
//! After that the thread waits, longer each time until it has reached all marks.
//!
//! # Locks
//!
//! [`Prefill::state`] is a spin lock. No other lock is acquired under it. [`Prefill::setting`] is a
//! mutex of those who set the size.

use super::{
    pool_set::BATCH_DELAY_MS,
    Pool,
    PoolSet,
    Runs,
    ORDERS, //
};
use crate::{
    abstractions::{
        background::{
            Background,
            DelayedWork, //
        },
        killable_mutex::KillableMutex,
        pages::{
            PageRun,
            Reclaim, //
        },
        task, //
    },
    decisions::reserve::{
        parts,
        Marks, //
    },
    pace::Pace,
    watermarks, //
};
use core::array;
use kernel::{
    new_spinlock,
    page::PAGE_SHIFT,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};

/// The number of pages that are freed before other tasks may run: 4 MiB.
const BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// What a pool has ready in advance.
#[pin_data]
pub(super) struct Prefill {
    /// Runs [`Filling`].
    pub(super) work: Arc<DelayedWork>,
    /// The size, in pages.
    size: Atomic<usize>,
    /// The number of pages of each order in the depot below which the thread is woken up.
    low: [Atomic<usize>; ORDERS.len()],
    /// Whether the pool was shrunk after the thread looked at this the last time.
    was_shrunk: Atomic<bool>,
    #[pin]
    state: SpinLock<State>,
    #[pin]
    setting: KillableMutex<()>,
}

/// What the thread works by.
struct State {
    /// The marks of each order, and whether runs are added until the high one is reached.
    orders: [(Marks, bool); ORDERS.len()],
    pace: Pace,
}

impl Prefill {
    /// Creates that of a pool with nothing in advance. May sleep. Fails with `ENOMEM`.
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let work = DelayedWork::new()?;
        let state = State {
            orders: [(Marks::new(0), false); ORDERS.len()],
            pace: Pace::default(),
        };
        Ok(pin_init!(Self {
            work,
            size: Atomic::new(0),
            low: array::from_fn(|_| Atomic::new(0)),
            was_shrunk: Atomic::new(false),
            state <- new_spinlock!(state),
            setting <- KillableMutex::new((), c"Prefill::setting", static_lock_class!()),
        }))
    }

    /// Wakes up the thread if `left` pages of order `ORDERS[index]` are fewer than there should be.
    /// Does not sleep.
    #[inline]
    pub(super) fn taken(&self, index: usize, left: usize) {
        let low = self.low.get(index).map_or(0, |low| low.load(Relaxed));
        if left < low {
            self.work.queue(BATCH_DELAY_MS);
        }
    }

    /// Lets the thread wait, since others needed the pages. Does not sleep.
    pub(super) fn shrunk(&self) {
        if self.size.load(Relaxed) > 0 {
            self.was_shrunk.store(true, Relaxed);
            self.work.queue(BATCH_DELAY_MS);
        }
    }

    /// Returns the size, in pages.
    pub(super) fn size(&self) -> usize {
        self.size.load(Relaxed)
    }

    /// Sets the size of all orders together.
    pub(super) fn set(&self, size: usize) {
        self.size.store(size, Relaxed);
        let marks = parts(size, ORDERS).map(Marks::new);
        for (low, marks) in self.low.iter().zip(marks) {
            low.store(marks.low, Relaxed);
        }
        let mut state = self.state.lock();
        state.orders = marks.map(|marks| (marks, true));
        state.pace.reset();
        self.was_shrunk.store(false, Relaxed);
    }

    /// Returns whether more runs of order `ORDERS[index]` are needed, where the depot has `pages`
    /// pages of it.
    fn lacks(&self, index: usize, pages: usize) -> bool {
        let mut state = self.state.lock();
        let Some((marks, is_filling)) = state.orders.get_mut(index) else {
            return false;
        };
        marks.update(is_filling, pages).is_some()
    }

    /// Returns how long the thread has to wait before it may allocate, in milliseconds.
    fn has_to_wait(&self) -> Option<u32> {
        let mut state = self.state.lock();
        if self.was_shrunk.xchg(false, Full) {
            return Some(state.pace.disturbed());
        }
        state.pace.left_ms()
    }

    /// Ends a pass over all orders. Returns how long to wait for the next one, if one is needed.
    fn end_pass(&self, is_complete: bool) -> Option<u32> {
        let mut state = self.state.lock();
        if is_complete {
            state.pace.reset();
            return None;
        }
        Some(state.pace.failed())
    }
}

impl Pool {
    /// Sets the number of pages to have in advance. If it is smaller than before, frees the pool's
    /// pages above it before this returns; otherwise the thread fills the pool up. A run that the
    /// thread allocates meanwhile may come on top.
    ///
    /// May sleep. Fails with `EINTR` on a fatal signal.
    pub(super) fn set_prefill(&self, size: usize) -> Result {
        let _setting = self.prefill.setting.lock()?;
        let before = self.prefill.size();
        self.prefill.set(size);
        loop {
            let surplus = self.kept().saturating_sub(size);
            if size >= before || surplus == 0 || self.free_some(surplus.min(BATCH)) == 0 {
                break;
            }
            task::reschedule();
        }
        self.prefill.work.queue_at(BATCH_DELAY_MS);
        Ok(())
    }

    /// Adds runs of all orders until the high marks are reached. Returns how long to wait before
    /// that is tried again, in milliseconds.
    fn fill(&self, pools: &PoolSet) -> Option<u32> {
        let mut is_complete = true;
        for (index, order) in ORDERS.into_iter().enumerate() {
            loop {
                if let Some(delay) = self.prefill.has_to_wait() {
                    return Some(delay);
                }
                let pages = self.depot.lock().list(index).map_or(0, |list| list.pages());
                if !self.prefill.lacks(index, pages) {
                    break;
                }
                if !self.add_fresh(order, pools) {
                    is_complete = false;
                    break;
                }
                task::reschedule();
            }
        }
        self.prefill.end_pass(is_complete)
    }

    /// Adds a batch of new runs of `order` to the depot: one, or single pages of 64 KiB. Returns
    /// false if none can be spared, or the pools have reached their limit.
    fn add_fresh(&self, order: u32, pools: &PoolSet) -> bool {
        let [_, _, batch, _] = ORDERS;
        let count = if order == 0 { 1 << batch } else { 1 };
        let pages = count << order;
        if !watermarks::are_spare(pages, false) {
            return false;
        }
        let mut fresh = Runs::new();
        for _ in 0..count {
            if let Some(run) = PageRun::allocate(order, self.memory_type.zone, Reclaim::Once) {
                fresh.push(run);
            }
        }
        // What was allocated is counted, ready for whoever takes it from the depot.
        let pages = fresh.pages();
        if pages == 0 {
            return false;
        }
        if !self.context.try_reserve(pages) {
            pools.make_room(pages);
            if !self.context.try_reserve(pages) {
                return false;
            }
        }
        self.add_ready(&mut fresh);
        true
    }
}

/// Fills the first pool of a set.
pub(super) struct Filling(pub(super) Arc<PoolSet>);

impl Background for Filling {
    fn run(&self) {
        let Some(pool) = self.0.filled_in_advance() else {
            return;
        };
        if let Some(delay) = pool.fill(&self.0) {
            pool.prefill.work.queue(delay);
        }
    }
}
