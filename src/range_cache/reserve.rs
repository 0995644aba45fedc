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
//! - A request that would fail releases all of it and is tried again ([`Reserve::serve`]).
//! - Reclaim releases what it wants, allocates nothing and waits for nothing but the spin lock,
//!   which is held for some microseconds at a time.
//!
//! After that the reserve rests: it accepts nothing until the thread has waited, longer each time
//! until it is full once.
//!
//! # The thread is nobody's obstacle
//!
//! It takes one page block at a time, only if memory is not short and no request is being served
//! outside of the reserve, and waits longer after each attempt in vain. The kernel isolates the
//! block during an attempt, so a request that fails at that time is tried again afterwards. A block
//! is taken as a whole and is of no area, so nothing beside it is isolated. But in each attempt the
//! kernel also drains the CPUs' lists of pages, under mutexes that requests to areas acquire as
//! well. So an attempt is made at ordinary priority: whoever waits for it does not wait for tasks
//! of a priority in between. What was taken is in the reserve before it is zeroed, and is zeroed
//! there in steps.
//!
//! # Locks
//!
//! [`Reserve::pieces`] is a spin lock like [`RangeCache::state`], and not held together with it.
//! [`Reserve::setting`] is a mutex of those who set the size.

mod pieces;
#[cfg(CONFIG_KUNIT)]
mod tests;

use super::{
    ram::{
        Charges,
        RamRanges, //
    },
    RamRequest,
    RangeCache, //
};
use crate::{
    abstractions::{
        background::{
            self,
            Background,
            DelayedWork, //
        },
        cache_cleaner::Cleaner,
        cma::{
            Preparation,
            Purpose,
            Range, //
        },
        hibernation::Hibernation,
        killable_mutex::KillableMutex,
        oom_notifier::LastResort,
        pause::Pause,
        shrinker::Shrink,
        signal,
        task, //
    },
    decisions::{
        reserve::{
            align_order,
            pages_of_mib,
            Backoff,
            Marks, //
        },
        segment::Segment, //
    },
    watermarks, //
};
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
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use pieces::{
    release,
    Pieces,
    Step,
    Wanted, //
};

/// The size of the pieces where no page block is to be had, in pages: 1 MiB.
const SMALL_PIECE: usize = (1 << 20) >> PAGE_SHIFT;

/// The number of pages that a task which may sleep releases before it lets others run: 4 MiB.
const BATCH: usize = (4 << 20) >> PAGE_SHIFT;

/// The delay before the thread looks at the reserve, in milliseconds.
const BATCH_DELAY_MS: u32 = 10;

/// How often a request that fails is tried again.
const MAX_RETRIES: u32 = 3;

/// How often a request looks whether an attempt of the thread has ended, and the time between.
const MAX_WAITS: u32 = 100;
const WAIT: Delta = Delta::from_millis(5);

/// The first delay after an attempt in vain, in milliseconds.
const RETRY_MS: u32 = 100;

/// The first delay after others needed the memory, in milliseconds.
const REST_MS: u32 = 1000;

/// The delay after a piece for which there was no place, in milliseconds.
const NO_PLACE_MS: u32 = 30_000;

/// The distance to the next search after an attempt in vain, in pages: 2 MiB. It doubles with each,
/// up to [`MAX_DOUBLINGS`] times.
const DISTANCE: usize = (2 << 20) >> PAGE_SHIFT;
const MAX_DOUBLINGS: u32 = 12;

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

/// What the thread knows about its attempts.
struct Progress {
    /// The rest of the page frames for a piece that were found.
    found: Option<Segment>,
    /// The page frame number at which the next search begins.
    from: usize,
    /// The number of attempts in vain one after another.
    failures: u32,
    /// The delay after attempts in vain.
    retry: Backoff,
    /// The delay after others needed the memory.
    rest: Backoff,
    /// The delay that has begun.
    pause: Pause,
}

impl Progress {
    /// Begins a delay of `delay` milliseconds.
    fn wait(&mut self, delay: u32) -> Next {
        Next::Wait(self.pause.begin(delay))
    }

    /// Begins anew.
    fn reset(&mut self) {
        self.retry.reset();
        self.rest.reset();
        self.pause.end();
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

/// A request that is being served outside of the reserve, until this is dropped.
struct Serving<'a>(&'a Reserve);

impl<'a> Serving<'a> {
    fn begin(reserve: &'a Reserve) -> Self {
        reserve.requests.fetch_add(1, Full);
        Self(reserve)
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Full);
    }
}

impl Reserve {
    /// Creates an empty reserve of size 0. May sleep. Fails with `ENOMEM`.
    pub(super) fn new(cleaner: &Cleaner) -> Result<impl PinInit<Self>> {
        let work = DelayedWork::new()?;
        let purpose = Purpose::all(cleaner);
        let progress = Progress {
            found: None,
            from: 0,
            failures: 0,
            retry: Backoff::default(),
            rest: Backoff::default(),
            pause: Pause::default(),
        };
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
            progress <- new_spinlock!(progress),
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
    fn released(&self, ram: &RamRanges, segment: Segment) {
        ram.freed(segment, segment.pages);
        self.released.fetch_add(segment.pages, Relaxed);
    }

    /// Releases a range that has left the reserve. May sleep.
    fn release_range(&self, ram: &RamRanges, range: Preparation) {
        let mut range = range;
        while range.segment().pages > 0 {
            self.released(ram, release(&mut range));
            task::reschedule();
        }
    }

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

    /// Releases everything. May sleep.
    fn release_all(&self, ram: &RamRanges) {
        while self.release(ram, BATCH, false) > 0 {
            task::reschedule();
        }
    }

    /// Serves a request outside of the reserve by `attempt`. If that fails with `ENOMEM`, releases
    /// the reserve, and waits for an attempt of the thread that may have been in the way, and tries
    /// again: a few times, since others may take what is released.
    ///
    /// May sleep. Fails as `attempt` does, and with `EINTR` on a fatal signal.
    fn serve<T>(&self, ram: &RamRanges, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let _serving = Serving::begin(self);
        for _ in 0..MAX_RETRIES {
            // The thread begins no attempt from here on. So what it is going to add, it adds before
            // the end of this one.
            let was_taking = self.is_taking.load(Relaxed);
            let released = self.released.load(Relaxed);
            let result = attempt();
            if !matches!(&result, Err(error) if *error == ENOMEM) {
                return result;
            }
            if was_taking {
                self.wait_until_taken()?;
            }
            self.release_all(ram);
            if !was_taking && self.released.load(Relaxed) == released {
                return result;
            }
        }
        attempt()
    }

    /// Waits until the thread makes no attempt, for half a second at most. Fails with `EINTR` on a
    /// fatal signal.
    fn wait_until_taken(&self) -> Result {
        for _ in 0..MAX_WAITS {
            if !self.is_taking.load(Relaxed) {
                break;
            }
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            fsleep(WAIT);
        }
        Ok(())
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
        self.progress.lock().reset();
        self.work.queue_at(BATCH_DELAY_MS);
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
                    // There are as many pieces as the reserve can have: RAM is in pieces.
                    self.progress.lock().wait(NO_PLACE_MS);
                    self.release_ranges(ram, [Some(range)]);
                }
                Step::Nothing => return,
            }
        }
    }

    /// Takes some pages for the reserve, if it is not full and nobody misses them.
    fn fill_step(&self, ram: &RamRanges) -> Next {
        if let Some(delay) = self.progress.lock().pause.left_ms() {
            return Next::Wait(delay);
        }
        let (missing, was_disturbed, left) = self.with(|pieces| {
            let was_disturbed = core::mem::take(&mut pieces.was_disturbed);
            let mut left = [None, None];
            if !was_disturbed {
                pieces.is_resting = false;
                left = pieces.end_release();
            }
            let missing = pieces.marks.missing(pieces.is_filling, pieces.pages());
            pieces.is_filling = missing.is_some();
            (missing, was_disturbed, left)
        });
        self.release_ranges(ram, left);
        if was_disturbed {
            let mut progress = self.progress.lock();
            let delay = progress.rest.next(REST_MS);
            return progress.wait(delay);
        }
        let Some(missing) = missing else {
            self.progress.lock().reset();
            return Next::Done;
        };
        match self.take_some(ram, missing) {
            Ok(true) => Next::GoOn,
            Ok(false) => self.progress.lock().wait(RETRY_MS),
            Err(_) => {
                let mut progress = self.progress.lock();
                let delay = progress.retry.next(RETRY_MS);
                progress.wait(delay)
            }
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
            {
                let mut progress = self.progress.lock();
                progress.from = 0;
                progress.failures = 0;
            }
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
                progress.retry.reset();
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

impl RangeCache {
    /// Takes a range of RAM from the reserve, if that has one. Does not sleep as a rule.
    ///
    /// Fails with `EINTR` on a fatal signal, and as
    /// [`Cleaner::clean`](crate::abstractions::cache_cleaner::Cleaner::clean) does.
    pub(crate) fn allocate_from_reserve(
        self: &Arc<Self>,
        request: &RamRequest,
    ) -> Result<Option<super::HeapRange>> {
        if !self.reserve.is_used() {
            return Ok(None);
        }
        while let Some(range) = self.reserve.take(&self.ram, request) {
            let segment = range.segment();
            match range.finish(&self.cleaner) {
                Ok(range) => return Ok(Some(super::HeapRange::new(self, range))),
                Err(error) => {
                    self.ram.freed(segment, segment.pages);
                    // Others refer to such a range, which has left the reserve.
                    if error != EBUSY {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Returns whether the reserve is or was in use. Does not sleep.
    #[inline]
    pub(crate) fn has_reserve(&self) -> bool {
        self.reserve.is_used()
    }

    /// Serves a request by `attempt`, which is tried again without the reserve before it fails with
    /// `ENOMEM`.
    ///
    /// May sleep. Fails as `attempt` does, and with `EINTR` on a fatal signal.
    pub(crate) fn serve_without_reserve<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        match self.reserve.is_used() {
            true => self.reserve.serve(&self.ram, attempt),
            false => attempt(),
        }
    }

    /// Returns the number of pages in the reserve. Does not sleep.
    pub(crate) fn reserve_pages(&self) -> usize {
        self.reserve.pages()
    }

    /// Releases at least `pages` pages of the reserve, or all if there are fewer, for a request
    /// that needs them or is at a limit: with `low_only`, that of memory below 4 GiB. Returns their
    /// number. May sleep.
    pub(crate) fn give_way(&self, pages: usize, low_only: bool) -> usize {
        let mut sum = 0;
        while sum < pages {
            match self
                .reserve
                .release(&self.ram, BATCH.min(pages - sum), low_only)
            {
                0 => break,
                released => sum += released,
            }
            task::reschedule();
        }
        sum
    }

    /// Returns the size up to which the reserve is filled, in MiB.
    pub(crate) fn reserve_mib(&self) -> usize {
        self.reserve.size.load(Relaxed) >> (20 - PAGE_SHIFT)
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

/// Fills the reserve of a cache and prepares it.
pub(super) struct Filling(pub(super) Arc<RangeCache>);

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

#[vtable]
impl Shrink for Filling {
    /// Returns 0 as long as there is enough of the page cache, which is reclaimed first: the kernel
    /// asks for a part of everything, also where files alone have filled memory.
    fn count(&self) -> usize {
        match watermarks::is_short() || self.0.ram.low_is_short() {
            true => self.0.reserve.pages(),
            false => 0,
        }
    }

    /// Releases memory below 4 GiB if only that is short.
    fn scan(&self, pages: usize) -> usize {
        let low_only = !watermarks::is_short() && self.0.ram.low_is_short();
        self.0.reserve.release(&self.0.ram, pages, low_only)
    }
}

impl Hibernation for Filling {
    /// Releases everything: it would be saved.
    fn prepare(&self) -> Result {
        let reserve = &self.0.reserve;
        let _setting = reserve.setting.lock()?;
        reserve.hibernates.store(true, Relaxed);
        reserve.apply(&self.0.ram);
        Ok(())
    }

    fn finished(&self) {
        let reserve = &self.0.reserve;
        reserve.hibernates.store(false, Relaxed);
        reserve.apply(&self.0.ram);
    }
}

impl LastResort for Filling {
    /// Releases everything.
    fn free(&self) -> usize {
        self.0.reserve.release(&self.0.ram, usize::MAX, false)
    }
}
