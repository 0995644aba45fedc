// SPDX-License-Identifier: GPL-2.0

//! The range that a contiguous heap allocates, which returns to the cache.

use super::RangeCache;
use crate::{
    abstractions::cma::{
        Area,
        Preparation,
        PreparedRange,
        Purpose, //
    },
    decisions::{
        memory::{
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use core::{
    iter,
    mem::ManuallyDrop,
    ptr, //
};
use kernel::sync::Arc;

/// A range of a heap. Dropping it puts it into the cache, or frees it if it is one of RAM.
///
/// # Invariants
///
/// `range` has not been taken until the value is dropped.
#[must_use = "the range is freed when this is dropped"]
pub(crate) struct HeapRange {
    range: ManuallyDrop<PreparedRange>,
    cache: Arc<RangeCache>,
}

impl HeapRange {
    /// Wraps `range`, which is put into `cache` when the new value is dropped.
    pub(super) fn new(cache: &Arc<RangeCache>, range: PreparedRange) -> Self {
        // INVARIANT: The range has not been taken.
        Self {
            range: ManuallyDrop::new(range),
            cache: cache.clone(),
        }
    }

    /// Takes back ownership of a range that [`HeapRange::into_raw`] gave up.
    ///
    /// # Safety
    ///
    /// As for [`PreparedRange::from_raw`].
    pub(crate) unsafe fn from_raw(
        cache: &Arc<RangeCache>,
        area: Option<Area>,
        segment: Segment,
        purpose: Purpose,
    ) -> Self {
        // SAFETY: The caller promises what `PreparedRange::from_raw()` requires.
        Self::new(cache, unsafe {
            PreparedRange::from_raw(area, segment, purpose)
        })
    }

    /// Returns what the range was prepared for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.range.purpose()
    }

    /// Returns the area of the pages, and `None` for pages of RAM.
    pub(crate) fn area(&self) -> Option<Area> {
        self.range.area()
    }

    /// Gives up ownership of the pages, which [`HeapRange::from_raw`] takes back.
    pub(crate) fn into_raw(self) -> Segment {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: By the type's invariant the range has not been taken. `this` is not dropped, so
        // the field is not used again.
        let range = unsafe { ManuallyDrop::take(&mut this.range) };
        // SAFETY: `this` is not dropped, so the reference is read once.
        drop(unsafe { ptr::read(&this.cache) });
        range.into_raw()
    }
}

impl Drop for HeapRange {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the range has not been taken. The field is not used
        // again.
        let range = unsafe { ManuallyDrop::take(&mut self.range) };
        let (area, purpose) = (range.area(), range.purpose());
        let preparation = Preparation::new(range.into_range(), purpose);
        match area {
            Some(area) => self.cache.insert(preparation, area),
            None => self.cache.release_to_ram(preparation),
        }
    }
}

// SAFETY: As for `PreparedRange`, which this value owns until it is dropped.
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

    fn is_beyond_area(&self) -> bool {
        self.area().is_none()
    }
}
