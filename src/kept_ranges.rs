// SPDX-License-Identifier: GPL-2.0

//! Ranges of contiguous memory areas that came back a moment ago.
//!
//! To get a range from its area costs more than to fill it with zeros: the kernel looks at whole blocks of pages, and moves
//! what others have put there. A pipeline that frees and allocates the same frames sixty times a second would pay that each
//! time. So a range that a heap gets back is kept for a second, a thread of low priority makes it ready, and a buffer of the
//! same size is made of it.
//!
//! What is kept is missing to the area's other users. Therefore it is at most half of an area, and goes back to its area
//! after [`KEEP`], when the kernel reclaims memory, when an allocation of the module fails ([`with_everything`]), and when
//! keeping is switched off.
//!
//! # Locks
//!
//! [`KEPT`] is a spin lock; a trigger's is taken under it. Ranges are made ready and given back with none held.

mod keeper;

use keeper::Keeper;
pub(crate) use keeper::Keeping;

use crate::{
    cache_cleaner::Cleaner,
    cma::{Area, Range, ReadyRange},
    memory::{Caching, Memory},
    segment::Segment,
    signal,
};
use core::{iter, mem::ManuallyDrop};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// How long a range is kept, in milliseconds.
const KEEP: i64 = 1000;

/// How long a range waits before it is made ready, in milliseconds: what is freed together is worked off together.
const MOMENT: u32 = 10;

/// The most ranges that are kept.
const MOST: usize = 64;

/// The most pages that are kept of an area whose size nobody knows: 16 MiB, with 4 KiB pages.
const UNKNOWN_LIMIT: usize = 4096;

/// From this size on, in pages, whoever wants a range rather takes another than to make one ready: 1 MiB, with 4 KiB pages.
const LARGE: usize = 256;

/// How long is waited for the thread to let go of what it is making ready: as many pauses.
const PAUSES: usize = 200;
const PAUSE: Delta = Delta::from_millis(1);

kernel::sync::global_lock! {
    // SAFETY: `prepare()` initialises the lock, and the module calls it before anything else.
    /// What is kept.
    unsafe(uninit) static KEPT: SpinLock<Store> = Store {
        ranges: KVec::new(),
        limits: KVec::new(),
        keeper: None,
        on: false,
        woken: false,
        working: None,
        emptied: 0,
    };
}

/// Prepares for ranges.
///
/// # Safety
///
/// Must be called once, before anything else in this module.
pub(crate) unsafe fn prepare() {
    // SAFETY: Called once and first, as the caller promises.
    unsafe { KEPT.init() };
}

struct Store {
    /// In the order in which they came, or were made ready. There is room for [`MOST`] from the start, so that nothing is allocated to keep one.
    ranges: KVec<Kept>,
    /// The most pages that are kept of each area.
    limits: KVec<(Area, usize)>,
    /// Whose thread makes ranges ready; nothing is kept without.
    keeper: Option<Arc<Keeper>>,
    on: bool,
    /// Whether the thread will soon look for what is not ready.
    woken: bool,
    /// The range that the thread is making ready, which is none of `ranges` meanwhile: its area and its pages.
    working: Option<(Area, usize)>,
    /// How often all was given back.
    emptied: u32,
}

struct Kept {
    contents: Contents,
    area: Area,
    segment: Segment,
    /// What the range is, or will be, ready for.
    caching: Caching,
    since: Instant<Monotonic>,
}

enum Contents {
    Used(Range),
    Ready(ReadyRange),
}

impl Kept {
    /// Its area, and how many pages of it.
    fn extent(&self) -> (Area, usize) {
        (self.area, self.segment.pages)
    }
}

impl Store {
    /// Keeps `kept` and returns nothing, unless that cannot be: then it comes back, with the oldest range of its area where that
    /// is in the way.
    fn keep(&mut self, kept: Kept) -> Option<(Kept, Option<Kept>)> {
        let limit = self.limits.iter().find(|(area, _)| *area == kept.area);
        let limit = limit.map_or(UNKNOWN_LIMIT, |(_, pages)| *pages);
        let (true, Some(keeper)) = (self.on && kept.segment.pages <= limit, &self.keeper) else {
            return Some((kept, None));
        };
        let others = self.ranges.iter().map(Kept::extent);
        let pages: usize = Iterator::chain(others, self.working)
            .filter(|(area, _)| *area == kept.area)
            .map(|(_, pages)| pages)
            .sum();
        if pages + kept.segment.pages > limit || self.ranges.len() == MOST {
            let oldest = self.remove(|other| other.area == kept.area);
            return Some((kept, oldest));
        }
        if !self.woken {
            self.woken = true;
            keeper.trigger.fire_at(MOMENT);
        }
        self.ranges
            .push_within_capacity(kept)
            .err()
            .map(|error| (error.0, None))
    }

    fn remove(&mut self, which: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let index = self.ranges.iter().position(which)?;
        self.ranges.remove(index).ok()
    }
}

/// A range that a heap hands out. Dropping it keeps it for a while.
///
/// # Invariants
///
/// `range` is there until the value is dropped.
pub(crate) struct HeapRange {
    range: ManuallyDrop<ReadyRange>,
}

impl HeapRange {
    /// Takes a range of `pages` pages of `area`, beginning at a multiple of `2^align` pages: one that was kept, else one from
    /// the area. With `first_fit` that is the first where it fits: whatever else is kept of the area is given back before.
    ///
    /// May sleep. Fails with `ENOMEM`, and as [`Range::make_ready`] does.
    pub(crate) fn allocate(
        area: Area,
        pages: usize,
        align: u32,
        first_fit: bool,
        caching: Caching,
        cleaner: &Cleaner,
    ) -> Result<Self> {
        let fits = |kept: &Kept| {
            kept.segment.pages == pages
                && kept.area == area
                && kept.segment.frame & ((1 << align) - 1) == 0
        };
        let ready = |kept: &Kept| matches!(kept.contents, Contents::Ready(_));
        let mut store = KEPT.lock();
        let mut kept = store.remove(|kept| fits(kept) && ready(kept) && kept.caching == caching);
        // A pipeline frees a frame and wants another at once. With one range more than it holds there is always one ready, so
        // the only one that is not is left to the thread, where the area has another.
        let spare = !first_fit && pages >= LARGE;
        if kept.is_none() && !(spare && store.ranges.iter().filter(|kept| fits(kept)).count() == 1)
        {
            kept = store.remove(fits);
        }
        drop(store);
        if kept.is_none() {
            if first_fit {
                give_back(Some(area));
            }
            if let Some(range) = area.allocate(pages, align) {
                return Ok(range.make_ready(caching, cleaner)?.into());
            }
            kept = KEPT.lock().remove(fits);
        }
        let range = match kept.ok_or(ENOMEM)?.contents {
            Contents::Ready(range) if range.caching() == caching => range,
            Contents::Ready(range) => range.into_used().make_ready(caching, cleaner)?,
            Contents::Used(range) => range.make_ready(caching, cleaner)?,
        };
        Ok(range.into())
    }

    /// Gives up ownership of the pages, which [`HeapRange::from_raw`] takes again.
    pub(crate) fn into_raw(self) -> Segment {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: By the type's invariant the range is there, and nobody looks at it after this.
        unsafe { ManuallyDrop::take(&mut this.range) }.into_raw()
    }

    /// Takes ownership again, of pages that are to be given back.
    ///
    /// # Safety
    ///
    /// As for [`ReadyRange::from_raw`].
    pub(crate) unsafe fn from_raw(area: Area, segment: Segment, caching: Caching) -> Self {
        // SAFETY: As the caller promises.
        unsafe { ReadyRange::from_raw(area, segment, caching) }.into()
    }
}

impl From<ReadyRange> for HeapRange {
    fn from(range: ReadyRange) -> Self {
        // INVARIANT: The range is there.
        Self {
            range: ManuallyDrop::new(range),
        }
    }
}

impl Drop for HeapRange {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the range is there, and nobody looks at it after this.
        let range = unsafe { ManuallyDrop::take(&mut self.range) };
        let mut kept = Kept {
            area: range.area(),
            segment: range.segment(),
            caching: range.caching(),
            contents: Contents::Used(range.into_used()),
            since: Instant::now(),
        };
        // What cannot be kept goes back to its area, with no lock held.
        loop {
            let refused = KEPT.lock().keep(kept);
            match refused {
                Some((again, Some(oldest))) => {
                    drop(oldest);
                    kept = again;
                }
                _ => break,
            }
        }
    }
}

// SAFETY: As for `ReadyRange`, which this is while it is not dropped.
unsafe impl Memory for HeapRange {
    type Segments<'a> = iter::Once<Segment>;

    fn segments(&self) -> Self::Segments<'_> {
        self.range.segments()
    }

    fn pages(&self) -> usize {
        self.range.pages()
    }

    fn caching(&self) -> Caching {
        self.range.caching()
    }
}

/// Calls `allocate`, and where it fails for want of memory once more, after all that is kept was given back.
///
/// May sleep. Fails as `allocate` does.
pub(crate) fn with_everything<T>(allocate: impl Fn() -> Result<T>) -> Result<T> {
    match allocate() {
        Err(error) if error == ENOMEM && give_back(None) => allocate(),
        result => result,
    }
}

/// Gives back what is kept of `area`, or of all; returns whether there was something. May sleep.
fn give_back(area: Option<Area>) -> bool {
    let is_meant = |of: Area| area.is_none_or(|area| area == of);
    let mut store = KEPT.lock();
    let works = |store: &Store| store.working.is_some_and(|(area, _)| is_meant(area));
    let some = works(&store) || store.ranges.iter().any(|kept| is_meant(kept.area));
    if !some {
        return false;
    }
    store.emptied = store.emptied.wrapping_add(1);
    drop(store);
    while let Some(kept) = first(is_meant) {
        drop(kept);
    }
    // The thread gives back what it is working on, as it sees that all was given back meanwhile.
    for _ in 0..PAUSES {
        if !works(&KEPT.lock()) || signal::fatal_pending() {
            break;
        }
        fsleep(PAUSE);
    }
    true
}

/// The first that is kept of the areas that are meant.
fn first(is_meant: impl Fn(Area) -> bool) -> Option<Kept> {
    KEPT.lock().remove(|kept| is_meant(kept.area))
}

/// Switches keeping on or off; with it off all has been given back when this returns. May sleep.
pub(crate) fn switch(on: bool) {
    KEPT.lock().on = on;
    if !on {
        give_back(None);
    }
}

/// Whether ranges are kept.
pub(crate) fn is_on() -> bool {
    KEPT.lock().on
}
