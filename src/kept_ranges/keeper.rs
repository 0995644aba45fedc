// SPDX-License-Identifier: GPL-2.0

//! Who keeps ranges: the thread that makes them ready and gives them back in time, and the shrinker.

use super::{first, switch, Contents, Kept, KEEP, KEPT, MOMENT, MOST, UNKNOWN_LIMIT};
use crate::{
    background::{Background, Thread, Trigger},
    cache_cleaner::Cleaner,
    cma::{Area, Survey},
    shrinker::{Shrink, Shrinker},
};
use kernel::{page::PAGE_SHIFT, prelude::*, sync::Arc};

/// Ranges can be kept while this lives. The fields are dropped in this order.
pub(crate) struct Keeping {
    _off: SwitchedOff,
    _shrinker: Shrinker<Keeper>,
    _thread: Thread<Keeper>,
}

impl Keeping {
    /// Starts the thread. With `on`, ranges are kept from now on.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` where a fatal signal came first.
    pub(crate) fn start(survey: Option<&Survey>, cleaner: Arc<Cleaner>, on: bool) -> Result<Self> {
        let ranges = KVec::with_capacity(MOST, GFP_KERNEL)?;
        let mut limits = KVec::new();
        for area in Iterator::chain(Area::default().into_iter(), Area::all()) {
            let size = survey.map(|survey| survey.extent(area).size >> PAGE_SHIFT);
            let limit = size.map_or(UNKNOWN_LIMIT, |pages| pages as usize / 2);
            limits.push((area, limit), GFP_KERNEL)?;
        }
        let keeper = Arc::pin_init(
            pin_init!(Keeper { cleaner, trigger <- Trigger::new() }),
            GFP_KERNEL,
        )?;
        let this = Self {
            _thread: Thread::start(c"rk_dma_heap_cma", keeper.clone())?,
            _shrinker: Shrinker::register(c"rk_dma_heap_cma", keeper.clone())?,
            _off: SwitchedOff,
        };
        let mut store = KEPT.lock();
        store.ranges = ranges;
        store.limits = limits;
        store.keeper = Some(keeper);
        store.on = on;
        drop(store);
        Ok(this)
    }
}

/// Nothing is kept any more when this is dropped.
struct SwitchedOff;

impl Drop for SwitchedOff {
    fn drop(&mut self) {
        switch(false);
        let mut store = KEPT.lock();
        let old = (store.keeper.take(), core::mem::take(&mut store.ranges));
        let limits = core::mem::take(&mut store.limits);
        drop(store);
        drop((old, limits));
    }
}

/// The ranges, as the thread and the shrinker see them.
#[pin_data]
pub(crate) struct Keeper {
    cleaner: Arc<Cleaner>,
    #[pin]
    pub(super) trigger: Trigger,
}

impl Keeper {
    /// Makes the oldest range ready that is not; false where there is none.
    fn make_one_ready(&self) -> bool {
        let mut store = KEPT.lock();
        let kept = store.remove(|kept| matches!(kept.contents, Contents::Used(_)));
        let emptied = store.emptied;
        store.working = kept.as_ref().map(Kept::extent);
        drop(store);
        let Some(kept) = kept else {
            return false;
        };
        let made = match kept.contents {
            Contents::Used(range) => range.make_ready(kept.caching, &self.cleaner),
            Contents::Ready(range) => Ok(range),
        };
        let mut store = KEPT.lock();
        let refused = match made {
            Ok(range) if store.emptied == emptied => {
                store.working = None;
                store.keep(Kept {
                    contents: Contents::Ready(range),
                    ..kept
                })
            }
            Ok(range) => {
                let contents = Contents::Ready(range);
                Some((Kept { contents, ..kept }, None))
            }
            // What cannot be made ready has gone back to its area.
            Err(_) => None,
        };
        drop(store);
        drop(refused);
        KEPT.lock().working = None;
        true
    }
}

impl Background for Keeper {
    fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    fn run(&self) {
        KEPT.lock().woken = false;
        while self.make_one_ready() {}
        let old = |kept: &Kept| kept.since.elapsed().as_millis() >= KEEP;
        loop {
            let Some(kept) = KEPT.lock().remove(old) else {
                break;
            };
            drop(kept);
        }
        let store = KEPT.lock();
        let ages = store.ranges.iter().map(|kept| kept.since.elapsed());
        if let Some(oldest) = ages.map(|age| age.as_millis()).max() {
            let left = (KEEP - oldest).clamp(MOMENT.into(), KEEP);
            self.trigger.fire(left as u32);
        }
    }
}

impl Shrink for Keeper {
    fn count(&self) -> usize {
        let store = KEPT.lock();
        store.ranges.iter().map(|kept| kept.segment.pages).sum()
    }

    fn shrink(&self, pages: usize) -> usize {
        let mut freed = 0;
        while freed < pages {
            let Some(kept) = first(|_| true) else {
                // What the thread is making ready goes back as soon as it is.
                let mut store = KEPT.lock();
                store.emptied = store.emptied.wrapping_add(1);
                break;
            };
            freed += kept.segment.pages;
        }
        freed
    }
}
