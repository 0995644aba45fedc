// SPDX-License-Identifier: GPL-2.0

//! A reserve of contiguous RAM, taken early and zeroed, for heaps that may use RAM beyond their
//! area.
//!
//! A request is cut from the reserve's smallest piece that has a place for it, so it costs neither
//! a search nor zeroing. Below its low mark the reserve is filled up by a thread of the lowest
//! priority. A freed range belongs to it as long as it is not full.
//!
//! # It gives way
//!
//! The pages count against the limits of [`RamRanges`], but nobody is refused for them:
//!
//! - A request that is at a limit releases what it needs of the reserve.
//! - A request that would fail releases all of it and is tried again ([`giving_way`]).
//! - Reclaim releases what it wants, allocates nothing and waits for nothing but the spin lock,
//!   which is held for some microseconds at a time.
//!
//! After that the reserve rests: it accepts nothing until the thread has waited, longer each time
//! until it is full once.
//!
//! # Locks
//!
//! [`Reserve::pieces`] is a spin lock like [`RangeCache::state`], and not held together with it.
//! [`Reserve::setting`] is a mutex of those who set the size.

mod filling;
mod giving_way;
mod pieces;
#[cfg(CONFIG_KUNIT)]
mod tests;

pub(super) use filling::Filling;
pub(super) use giving_way::GivingWay;

use super::{
    ram::{
        self,
        RamRanges, //
    },
    HeapRange,
    RamRequest,
    RangeCache,
    BATCH_DELAY_MS, //
};
use crate::{
    abstractions::{
        background::DelayedWork,
        cache_cleaner::Cleaner,
        cma::{
            Preparation,
            Purpose, //
        },
        killable_mutex::KillableMutex,
        task, //
    },
    decisions::{
        ram_share::{
            mib_of_pages,
            pages_of_mib, //
        },
        reserve::{
            align_order,
            Marks, //
        },
        segment::Segment, //
    }, //
};
use filling::Progress;
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
use pieces::{
    Pieces,
    Wanted, //
};

/// The number of pages that a task which may sleep releases before it lets others run: 4 MiB.
const BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// A reserve of ranges of RAM.
#[pin_data]
pub(super) struct Reserve {
    /// What the ranges are prepared for: everything that this machine supports.
    purpose: Purpose,
    /// Prepares and fills the reserve.
    pub(super) work: Arc<DelayedWork>,
    /// The size up to which it is filled, in pages.
    size: Atomic<usize>,
    /// Whether it stays empty, since memory is about to be saved.
    hibernates: Atomic<bool>,
    /// The number of pages in it.
    pages: Atomic<usize>,
    /// The number of pages that were ever released from it. May wrap.
    released: Atomic<usize>,
    /// The number of requests that are being served outside of the reserve.
    requests: Atomic<usize>,
    /// Whether the thread is queued for a time that may be far off.
    is_waiting: Atomic<bool>,
    /// Whether the thread makes an attempt to take pages.
    is_taking: Atomic<bool>,
    #[pin]
    pieces: SpinLock<Pieces>,
    #[pin]
    setting: KillableMutex<()>,
    #[pin]
    progress: SpinLock<Progress>,
}

impl Reserve {
    /// Creates an empty reserve of size 0. May sleep. Fails with `ENOMEM`.
    pub(super) fn new(cleaner: &Cleaner) -> Result<impl PinInit<Self>> {
        let work = DelayedWork::new()?;
        let purpose = Purpose::all(cleaner);
        Ok(pin_init!(Self {
            purpose,
            work,
            size: Atomic::new(0),
            hibernates: Atomic::new(false),
            pages: Atomic::new(0),
            released: Atomic::new(0),
            requests: Atomic::new(0),
            is_waiting: Atomic::new(false),
            is_taking: Atomic::new(false),
            pieces <- new_spinlock!(Pieces::new()),
            setting <- KillableMutex::new((), c"Reserve::setting", static_lock_class!()),
            progress <- new_spinlock!(Progress::default()),
        }))
    }

    /// Whether there may be pieces.
    #[inline]
    fn is_used(&self) -> bool {
        self.size.load(Relaxed) > 0 || self.pages.load(Relaxed) > 0
    }

    /// Returns the number of pages in the reserve. Does not sleep.
    pub(super) fn pages(&self) -> usize {
        self.pages.load(Relaxed)
    }

    /// Calls `f` for the pieces.
    fn with<T>(&self, f: impl FnOnce(&mut Pieces) -> T) -> T {
        let mut pieces = self.pieces.lock();
        let result = f(&mut pieces);
        self.pages.store(pieces.pages(), Relaxed);
        result
    }

    /// Uncounts pages that were released.
    fn released(&self, ram: &RamRanges, part: Segment) {
        ram.freed(part);
        self.released.fetch_add(part.pages, Relaxed);
    }

    /// Releases a range that has left the reserve. May sleep.
    fn release_range(&self, ram: &RamRanges, range: Preparation) {
        let mut range = range;
        while range.segment().pages > 0 {
            self.released(ram, ram::release_step(&mut range));
            task::reschedule();
        }
    }

    /// Takes a range of `request`. Does not sleep, unless what is left of a piece has no place.
    fn take(&self, ram: &RamRanges, request: &RamRequest) -> Option<Preparation> {
        if self.pages.load(Relaxed) < request.pages {
            return None;
        }
        let wanted = Wanted {
            pages: request.pages,
            align: align_order(request.pages, RamRanges::step_pages()),
            may_be_low: request.below_4g || !ram.low_is_exceeded(),
            may_be_high: !request.below_4g,
        };
        let (taken, is_low) = self.with(|pieces| {
            let taken = pieces.take(&wanted);
            (taken, pieces.pages() < pieces.marks.low)
        });
        if is_low {
            self.work.queue(BATCH_DELAY_MS);
        }
        let taken = taken?;
        for rest in taken.surplus.into_iter().flatten() {
            self.release_range(ram, rest);
        }
        Some(taken.range.with_purpose(request.purpose))
    }

    /// Adds a freed range, unless the reserve is full or off. Gives it back then. Does not sleep.
    pub(super) fn insert_freed(&self, range: Preparation) -> Result<(), Preparation> {
        if self.size.load(Relaxed) == 0 {
            return Err(range);
        }
        let range = range.with_purpose(self.purpose);
        self.with(|pieces| pieces.insert(range, pieces.marks.high))?;
        // The thread may be waiting for longer.
        match self.is_waiting.load(Relaxed) && self.is_waiting.xchg(false, Full) {
            true => self.work.queue_at(BATCH_DELAY_MS),
            false => self.work.queue(BATCH_DELAY_MS),
        }
        Ok(())
    }

    /// Releases at least `pages` pages, or all if there are fewer, and returns their number. With
    /// `low_only`, only such below 4 GiB. The reserve rests then. Does not sleep.
    fn release(&self, ram: &RamRanges, pages: usize, low_only: bool) -> usize {
        let mut sum = 0;
        while sum < pages {
            // The lock is released after each step.
            let step = self.with(|pieces| {
                let step = pieces.release_step(low_only)?;
                pieces.is_resting = true;
                pieces.was_disturbed = true;
                // Whoever finds the reserve empty finds these pages uncounted.
                self.released(ram, step);
                Some(step)
            });
            let Some(released) = step else {
                break;
            };
            sum += released.pages;
        }
        if sum > 0 {
            self.work.queue(BATCH_DELAY_MS);
        }
        sum
    }

    /// Does what [`Reserve::release`] does, in batches. May sleep.
    fn release_in_batches(&self, ram: &RamRanges, pages: usize, low_only: bool) -> usize {
        let mut sum = 0;
        while sum < pages {
            match self.release(ram, BATCH.min(pages - sum), low_only) {
                0 => break,
                released => sum += released,
            }
            task::reschedule();
        }
        sum
    }

    /// Sets the size in pages. What is above it is released when this returns. May sleep. Fails
    /// with `ENOMEM`, and with `EINTR` on a fatal signal.
    fn set_size(&self, ram: &RamRanges, size: usize) -> Result {
        let _setting = self.setting.lock()?;
        if size > 0 && !self.with(|pieces| pieces.has_room()) {
            let room = Pieces::with_room()?;
            // The one without room is empty.
            let empty = self.with(|pieces| core::mem::replace(pieces, room));
            drop(empty);
        }
        self.size.store(size, Relaxed);
        self.apply(ram);
        Ok(())
    }

    /// Applies the size, and releases what is above it. May sleep.
    fn apply(&self, ram: &RamRanges) {
        let size = self.with(|pieces| {
            // Those who set the size and hibernation may be here at once. The last one to hold the
            // lock sees what all of them have stored.
            let size = match self.hibernates.load(Relaxed) {
                true => 0,
                false => self.size.load(Relaxed),
            };
            pieces.marks = Marks::new(size);
            pieces.is_filling = size > 0;
            size
        });
        loop {
            let surplus = self.pages().saturating_sub(size);
            if surplus == 0 || self.release(ram, surplus.min(BATCH), false) == 0 {
                break;
            }
            task::reschedule();
        }
        self.with(|pieces| {
            pieces.is_resting = false;
            pieces.was_disturbed = false;
        });
        self.progress.lock().pace.reset();
        self.work.queue_at(BATCH_DELAY_MS);
    }
}

impl RangeCache {
    /// Takes a range of RAM from the reserve, if that has one. Does not sleep as a rule.
    ///
    /// Fails with `EINTR` on a fatal signal, and as
    /// [`Cleaner::clean`](crate::abstractions::cache_cleaner::Cleaner::clean) does.
    pub(crate) fn allocate_from_reserve(
        self: &Arc<Self>,
        request: &RamRequest,
    ) -> Result<Option<HeapRange>> {
        while let Some(range) = self.reserve.take(&self.ram, request) {
            let segment = range.segment();
            let finished = self.finish(range);
            if let Ok(Some(range)) = finished {
                return Ok(Some(range));
            }
            self.ram.freed(segment);
            // If others refer to the pages, there may be another range.
            finished?;
        }
        Ok(None)
    }

    /// Returns whether the reserve is or was in use. Does not sleep.
    #[inline]
    pub(crate) fn has_reserve(&self) -> bool {
        self.reserve.is_used()
    }

    /// Returns the number of pages in the reserve. Does not sleep.
    pub(crate) fn reserve_pages(&self) -> usize {
        self.reserve.pages()
    }

    /// Returns the size up to which the reserve is filled, in MiB.
    pub(crate) fn reserve_mib(&self) -> usize {
        mib_of_pages(self.reserve.size.load(Relaxed))
    }

    /// Sets the size of the reserve. What is above it has been released when this returns, and the
    /// thread fills it up to that. May sleep. Fails with `EINVAL` if the limit for ranges of RAM is
    /// lower, with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn set_reserve_mib(&self, mib: u32) -> Result {
        let pages = pages_of_mib(mib);
        if pages > self.ram.limit() {
            return Err(EINVAL);
        }
        self.reserve.set_size(&self.ram, pages)
    }

    /// Ends the reserve: it is empty when this returns. May sleep.
    pub(super) fn end_reserve(&self) {
        self.reserve.size.store(0, Relaxed);
        self.reserve.apply(&self.ram);
    }
}
