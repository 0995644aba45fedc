// SPDX-License-Identifier: GPL-2.0

//! What the CPU's caches may hold of a buffer's memory, and the maintenance that follows from it.
//!
//! The memory of a cached buffer is in the kernel's linear map, so a CPU may load lines of it
//! speculatively at any time. Such a line is clean. After a write of a device that does not snoop
//! the caches it is older than the memory. Only two things need maintenance therefore:
//!
//! - A *dirty* line is newer than the memory. It must be written back before a device reads the
//!   memory, and before a device writes it: an eviction would overwrite what the device wrote.
//! - A *stale* line is older than the memory. It must be invalidated before anything reads through
//!   the caches. It is never written back, so devices are not affected.
//!
//! A line becomes dirty through a *view* only: a mapping of a process or of the kernel, or an
//! attachment that is mapped and served through the caches, because its device snoops them or has a
//! bounce buffer, which the CPU copies. The zeroes of a new buffer are dirty as well. Lines are
//! read through views only.
//!
//! # Table
//!
//! | event \ state | `Written` | `Clean` | `Viewed` | `Untracked` |
//! | --- | --- | --- | --- | --- |
//! | a device past the caches: map | maintain → `Clean` | **skip** | maintain | maintain |
//! | a device past the caches: unmap | maintain | **skip** | maintain | maintain |
//! | a device through the caches: map | → `Viewed` | invalidate → `Viewed` | count | – |
//! | a device through the caches: unmap | – | – | count; the last → `Written` | – |
//! | a mapping of the CPU is made | → `Viewed` | invalidate → `Viewed` | count | – |
//! | a mapping of the CPU is gone | – | – | count; the last → `Written` | – |
//! | CPU access begins, the CPU has a mapping | | | maintain | maintain |
//! | CPU access begins, it has none | maintain, end | invalidate, end | maintain, end | maintain |
//! | CPU access ends | maintain | flush → `Written` | maintain | maintain |
//! | hibernation begins | end | flush, end | end | – |
//!
//! - `Written`: there is no view, and lines may be dirty.
//! - `Clean`: there is no view, no line is dirty, and lines may be stale.
//! - `Viewed`: there are views, so lines may be dirty or stale.
//! - `Untracked`: there may always be a view. *End* in the table: the tracking ends, in this state.
//!
//! *Maintain* is what the DMA interface does by itself. A map writes lines back even where that
//! would discard them. *Invalidate* is done for the whole buffer, before anything can read it.
//! *Flush* writes all lines back before that.
//!
//! CPU access without a mapping is that of an importer with a mapping of its own, of which nothing
//! is known, so such a buffer is not tracked any more. If it began while somebody else had a
//! mapping, it ends with lines that may be dirty, while others may be stale. Nobody has a mapping
//! before there is an importer, so CPU access before that is not counted.
//!
//! # Why nothing is missed
//!
//! **Map in `Clean`.** Maintenance would write back dirty lines. There are none: the maintenance of
//! the map that led to `Clean` wrote them back, and there has been no view since. On arm64 the DMA
//! interface cleans by `dc cvac`. On 32-bit arm it cleans, outer caches included, except that it
//! invalidates for a device that only writes; there the buffer is cleaned by a device that reads.
//! Lines that are loaded speculatively afterwards are clean on both, and never written back.
//!
//! **Unmap in `Clean`.** Maintenance would invalidate stale lines, and speculation could load other
//! ones at once if another device still wrote. There is no view, so nothing reads them. Whoever
//! makes a view finds `Clean`, and invalidates all lines first. From then on a device that has the
//! buffer mapped finds `Viewed`, and its unmap maintains.
//!
//! **x86.** All devices snoop, so every mapped attachment is a view, and the DMA interface has
//! nothing to do in any state.
//!
//! **Bounce buffers.** The copies are made by the CPU through the linear map: when the attachment
//! is mapped, and for a sync, it reads; when it is unmapped, and for a sync, it writes. So such an
//! attachment is a view, and is never skipped.
//!
//! **An IOMMU** translates the device's addresses, and changes nothing about caches.
//!
//! **Release in `Clean`.** The memory returns to a pool, to the page allocator or to its area with
//! stale lines. Its next user either zeroes it through the linear map, which overwrites whole
//! lines, and then that is what devices and CPU must see; or it does not rely on the content.
//! Memory that will be mapped write-combined is zeroed and cleaned first in any case.
//!
//! **Page faults** happen in a view that exists. A private mapping is refused, and then the view
//! ends with the attempt.
//!
//! **Devices that never attach**, and drivers that know a buffer by its physical address, cannot be
//! tracked. The buffers of the heap for them begin as `Untracked`.

/// What the CPU's caches may hold of a buffer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CacheState {
    /// There is no view. Lines may be dirty.
    Written,
    /// There is no view. No line is dirty. Lines may be stale.
    Clean,
    /// There are views.
    Viewed(Views),
    /// There may always be a view.
    Untracked,
}

/// The views of a buffer. There is at least one.
///
/// The lower half is the number of mappings of the CPU. The upper half is that of mapped
/// attachments whose devices are served through the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Views(u32);

impl Views {
    const MAPPING: u32 = 1;
    const DEVICE: u32 = 1 << 16;

    /// The largest number of mappings, or of devices, that is counted.
    const MAX_COUNT: u32 = u16::MAX as u32 - 1;

    fn has_mappings(self) -> bool {
        Self::count(self.0, Self::MAPPING) != 0
    }

    /// Returns the number of views that `one` is one of.
    #[inline]
    const fn count(counts: u32, one: u32) -> u32 {
        counts / one % Self::DEVICE
    }
}

/// What happens to a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CacheEvent {
    /// The buffer is mapped for a device that accesses the memory past the caches.
    MapPastCaches,
    /// It is unmapped from such a device.
    UnmapPastCaches,
    /// It is mapped for a device that is served through the caches.
    MapThroughCaches,
    /// It is unmapped from such a device.
    UnmapThroughCaches,
    /// A process or the kernel maps it.
    ViewBegins,
    /// Such a mapping is gone.
    ViewEnds,
    /// CPU access begins.
    AccessBegins,
    /// CPU access ends.
    AccessEnds,
    /// The CPU will read all memory of the machine: for hibernation.
    TrackingEnds,
}

/// What an event requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CacheAction {
    /// No maintenance.
    Skip,
    /// The maintenance of the DMA interface for this event.
    Maintain,
    /// Invalidation of all lines before the event happens.
    Invalidate,
    /// Writing back and invalidation of all lines before the event happens.
    Flush,
}

impl CacheState {
    /// Returns the state after `event`, and what the event requires.
    // Most callers know the event, which leaves little of this.
    #[inline(always)]
    pub(crate) fn after(self, event: CacheEvent) -> (Self, CacheAction) {
        use CacheAction::{
            Flush,
            Invalidate,
            Maintain,
            Skip, //
        };
        use CacheEvent::{
            AccessBegins,
            AccessEnds,
            MapPastCaches,
            MapThroughCaches,
            TrackingEnds,
            UnmapPastCaches,
            UnmapThroughCaches,
            ViewBegins,
            ViewEnds, //
        };
        let more = |one| self.with_more_views(one);
        let less = |one| self.with_fewer_views(one);
        match (self, event) {
            (Self::Written, MapPastCaches) => (Self::Clean, Maintain),
            (Self::Clean, MapPastCaches | UnmapPastCaches) => (Self::Clean, Skip),
            (state, MapPastCaches | UnmapPastCaches) => (state, Maintain),

            (Self::Clean, ViewBegins) => (more(Views::MAPPING), Invalidate),
            (Self::Clean, MapThroughCaches) => (more(Views::DEVICE), Invalidate),
            (_, ViewBegins) => (more(Views::MAPPING), Skip),
            (_, MapThroughCaches) => (more(Views::DEVICE), Skip),
            (_, ViewEnds) => (less(Views::MAPPING), Skip),
            (_, UnmapThroughCaches) => (less(Views::DEVICE), Skip),

            (Self::Clean, AccessBegins) => (Self::Untracked, Invalidate),
            (Self::Viewed(views), AccessBegins) if views.has_mappings() => (self, Maintain),
            (_, AccessBegins) => (Self::Untracked, Maintain),
            (Self::Clean, AccessEnds) => (Self::Written, Flush),
            (state, AccessEnds) => (state, Maintain),

            (Self::Clean, TrackingEnds) => (Self::Untracked, Flush),
            (_, TrackingEnds) => (Self::Untracked, Skip),
        }
    }

    /// Returns the state with one more view. A number that cannot be counted ends the tracking: the
    /// views are not known any more.
    #[inline(always)]
    fn with_more_views(self, one: u32) -> Self {
        match self {
            Self::Written | Self::Clean => Self::Viewed(Views(one)),
            Self::Viewed(Views(counts)) if Views::count(counts, one) < Views::MAX_COUNT => {
                Self::Viewed(Views(counts + one))
            }
            Self::Viewed(_) | Self::Untracked => Self::Untracked,
        }
    }

    /// Returns the state with one view less. That of a view that was not counted ends the tracking.
    #[inline(always)]
    fn with_fewer_views(self, one: u32) -> Self {
        match self {
            Self::Viewed(Views(counts)) if counts == one => Self::Written,
            Self::Viewed(Views(counts)) if Views::count(counts, one) > 0 => {
                Self::Viewed(Views(counts - one))
            }
            _ => Self::Untracked,
        }
    }

    /// Returns whether the state may be entered and left only with the lock of the importers held.
    ///
    /// While it lasts, the owner of the lock can invalidate lines before a view is counted.
    #[inline]
    pub(crate) fn is_locked(self) -> bool {
        self == Self::Clean
    }

    // No number of devices is as large as in the last two.
    const WRITTEN: u32 = 0;
    const CLEAN: u32 = u32::MAX << 16;
    const UNTRACKED: u32 = u32::MAX;

    /// Returns whether the CPU may have a mapping in the state with this number. The begin of CPU
    /// access requires what the DMA interface does then, and changes nothing.
    #[inline]
    pub(crate) const fn may_have_mapping(bits: u32) -> bool {
        bits as u16 != 0
    }

    /// Returns the state as a number.
    #[inline]
    pub(crate) const fn to_bits(self) -> u32 {
        match self {
            Self::Written => Self::WRITTEN,
            Self::Clean => Self::CLEAN,
            Self::Viewed(Views(counts)) => counts,
            Self::Untracked => Self::UNTRACKED,
        }
    }

    /// Returns the state whose number this is.
    #[inline]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        match bits {
            Self::WRITTEN => Self::Written,
            Self::CLEAN => Self::Clean,
            Self::UNTRACKED => Self::Untracked,
            counts => Self::Viewed(Views(counts)),
        }
    }
}
