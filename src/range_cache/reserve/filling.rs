// SPDX-License-Identifier: GPL-2.0

//! The thread that fills a reserve and prepares it.
//!
//! # It is nobody's obstacle
//!
//! It takes one page block at a time, only if memory is not short and no request is being served
//! outside of the reserve, and waits longer after each attempt in vain. The kernel isolates the
//! block during an attempt, so a request that fails at that time is tried again afterwards. A block
//! is taken as a whole and is of no area, so nothing beside it is isolated. But in each attempt the
//! kernel also drains the CPUs' lists of pages, under mutexes that requests to areas acquire as
//! well. So an attempt is made at ordinary priority: whoever waits for it does not wait for tasks
//! of a priority in between. What was taken is in the reserve before it is zeroed, and is zeroed
//! there in steps.

use super::{
    pieces::Step,
    Reserve, //
};
use crate::{
    abstractions::{
        background::{
            self,
            Background, //
        },
        cache_cleaner::Cleaner,
        cma::{
            Preparation,
            Range, //
        },
        task, //
    },
    decisions::segment::Segment,
    pace::{
        Pace,
        RETRY_MS, //
    },
    range_cache::{
        ram::{
            Charges,
            RamRanges,
            DISTANCE, //
        },
        RangeCache, //
    }, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::Full,
        Arc, //
    }, //
};

/// The size of the pieces where no page block is to be had, in pages: 1 MiB.
const SMALL_PIECE: usize = (1 << 20) >> PAGE_SHIFT;

/// The delay after a piece for which there was no place, in milliseconds.
const NO_PLACE_MS: u32 = 30_000;

/// How often the distance to the next search after an attempt in vain doubles at most.
const MAX_DOUBLINGS: u32 = 12;

/// What the thread knows about its attempts.
#[derive(Default)]
pub(super) struct Progress {
    /// The rest of the page frames for a piece that were found.
    found: Option<Segment>,
    /// The page frame number at which the next search begins.
    from: usize,
    /// The number of attempts in vain one after another.
    failures: u32,
    /// How long it waits.
    pub(super) pace: Pace,
}

impl Progress {
    /// Begins with the first page frame again.
    fn restart_search(&mut self) {
        self.from = 0;
        self.failures = 0;
    }
}

/// What the thread does next.
enum Next {
    /// It goes on.
    GoOn,
    /// It waits for some milliseconds.
    Wait(u32),
    /// It waits until it is needed.
    Done,
}

impl Reserve {
    /// Releases ranges that have left the reserve, on its thread. May sleep.
    ///
    /// Nobody else can release them, so the thread does not wait behind tasks of higher priority.
    fn release_ranges(
        &self,
        ram: &RamRanges,
        ranges: impl IntoIterator<Item = Option<Preparation>>,
    ) {
        background::at_ordinary_priority(|| {
            for range in ranges.into_iter().flatten() {
                self.release_range(ram, range);
            }
        });
    }

    /// Adds a range that the thread has taken, or releases it.
    fn add(&self, ram: &RamRanges, taken: (Charges<'_>, Range)) {
        let (charges, range) = taken;
        charges.keep();
        let range = Preparation::new(range, self.purpose);
        let step = RamRanges::step_pages().max(SMALL_PIECE);
        let refused = self.with(|pieces| {
            let limit = pieces.marks.high.saturating_add(step);
            pieces.insert(range, limit)
        });
        if let Err(range) = refused {
            self.release_ranges(ram, [Some(range)]);
        }
    }

    /// Prepares all that is not prepared.
    fn prepare(&self, ram: &RamRanges, cleaner: &Cleaner) {
        loop {
            // The lock is released after each step.
            match self.with(|pieces| pieces.prepare_step(cleaner)) {
                Step::Prepared => task::reschedule(),
                Step::Left(ranges) => self.release_ranges(ram, ranges),
                Step::NoPlace(range) => {
                    // There are as many pieces of that size as the reserve can have. If it is one
                    // that this thread takes, RAM is in pieces.
                    if range.segment().pages >= SMALL_PIECE.min(RamRanges::step_pages()) {
                        self.progress.lock().pace.wait(NO_PLACE_MS);
                    }
                    self.release_ranges(ram, [Some(range)]);
                }
                Step::Nothing => return,
            }
        }
    }

    /// Takes some pages for the reserve, if it is not full and nobody misses them.
    fn fill_step(&self, ram: &RamRanges) -> Next {
        if let Some(delay) = self.progress.lock().pace.left_ms() {
            return Next::Wait(delay);
        }
        let (missing, was_disturbed, left) = self.with(|pieces| {
            let was_disturbed = core::mem::take(&mut pieces.was_disturbed);
            let mut left = [None, None];
            if !was_disturbed {
                pieces.is_resting = false;
                left = pieces.end_release();
            }
            let pages = pieces.pages();
            let missing = pieces.marks.update(&mut pieces.is_filling, pages);
            (missing, was_disturbed, left)
        });
        self.release_ranges(ram, left);
        if was_disturbed {
            return Next::Wait(self.progress.lock().pace.disturbed());
        }
        let Some(missing) = missing else {
            self.progress.lock().pace.reset();
            return Next::Done;
        };
        match self.take_some(ram, missing) {
            Ok(true) => Next::GoOn,
            Ok(false) => Next::Wait(self.progress.lock().pace.wait(RETRY_MS)),
            Err(_) => Next::Wait(self.progress.lock().pace.failed()),
        }
    }

    /// Adds what `take` takes. Returns false, and takes nothing, if requests are being served
    /// outside of the reserve. Fails as `take` does.
    fn take_alone<'a>(
        &self,
        ram: &'a RamRanges,
        take: impl FnOnce() -> Result<(Charges<'a>, Range)>,
    ) -> Result<bool> {
        self.is_taking.xchg(true, Full);
        // The other side counts itself before it looks at the flag.
        let taken = match self.requests.fetch_add(0, Full) {
            // The kernel holds mutexes in an attempt that other allocators of contiguous memory
            // wait for.
            0 => background::at_ordinary_priority(take).map(|taken| {
                self.add(ram, taken);
                true
            }),
            _ => Ok(false),
        };
        self.is_taking.xchg(false, Full);
        taken
    }

    /// Takes a block, or a small piece if there is none. Returns false if it has to be tried again
    /// later. Fails if there is nothing to be had.
    fn take_some(&self, ram: &RamRanges, missing: usize) -> Result<bool> {
        let block = RamRanges::step_pages();
        if missing.min(ram.left_for_reserve()) < block {
            let pages = SMALL_PIECE.min(block);
            return self.take_alone(ram, || ram.take_small(pages));
        }
        let (found, from) = {
            let progress = self.progress.lock();
            (progress.found, progress.from)
        };
        let found = match found {
            Some(found) => Some(found),
            None => ram.find_piece(missing, from)?,
        };
        let Some(found) = found else {
            self.progress.lock().restart_search();
            if from > 0 || SMALL_PIECE >= block {
                return Err(ENOMEM);
            }
            return self.take_alone(ram, || ram.take_small(SMALL_PIECE));
        };
        let part = found.truncate(block);
        let taken = self.take_alone(ram, || ram.take_part(part));
        let mut progress = self.progress.lock();
        match taken {
            Ok(true) => {
                progress.found = found.skip(block);
                progress.pace.succeeded();
                progress.failures = 0;
            }
            Ok(false) => progress.found = Some(found),
            Err(_) => {
                progress.found = None;
                let distance = DISTANCE << progress.failures.min(MAX_DOUBLINGS);
                progress.from = part.pfn.saturating_add(part.pages.max(distance));
                progress.failures = progress.failures.saturating_add(1);
            }
        }
        taken
    }
}

/// Fills the reserve of a cache and prepares it.
pub(in crate::range_cache) struct Filling(pub(in crate::range_cache) Arc<RangeCache>);

impl Background for Filling {
    fn run(&self) {
        let RangeCache {
            reserve,
            ram,
            cleaner,
            ..
        } = &*self.0;
        reserve.is_waiting.xchg(false, Full);
        loop {
            reserve.prepare(ram, cleaner);
            match reserve.fill_step(ram) {
                Next::GoOn => task::reschedule(),
                Next::Wait(delay) => {
                    reserve.is_waiting.xchg(true, Full);
                    return reserve.work.queue(delay);
                }
                Next::Done => return,
            }
        }
    }
}
