// SPDX-License-Identifier: GPL-2.0

//! Events that change what the CPU's caches hold of a buffer's memory, and what they require.

use super::{
    importers::sync_direction,
    Buffer, //
};
use crate::{
    abstractions::{
        cache_cleaner::{
            Cleaner,
            MAPPING_DISCARDS, //
        },
        exporter::{
            Attached,
            Exporter, //
        },
        sg_table::{
            Direction,
            Maintenance,
            SgTable, //
        }, //
    },
    decisions::{
        cache_state::{
            CacheAction,
            CacheEvent,
            CacheState, //
        },
        memory::{
            Backing,
            Memory, //
        },
        sync_direction::SyncDirection, //
    },
    importer::Access, //
};
use kernel::{
    device::Device,
    dma::DataDirection,
    prelude::*, //
};

impl<M: Memory> Buffer<M> {
    /// Returns the device for invalidation, if it is known what the CPU's caches hold of the
    /// memory.
    ///
    /// Write-combined memory needs no maintenance. Of devices that never attach nothing is known.
    /// Without a device that is effective, all devices snoop or have bounce buffers.
    #[inline]
    pub(super) fn tracker(&self) -> Option<&Cleaner> {
        if !self.syncs() || self.for_addresses || self.memory.backing() != Backing::Pages {
            return None;
        }
        self.entry
            .cleaner()
            .filter(|cleaner| cleaner.is_effective())
    }

    /// Counts an event, and does what must be done before it. Returns what it requires otherwise.
    ///
    /// May sleep. The lock of the importers must be held, unless there has been none yet. Fails as
    /// [`Cleaner::sync_for_cpu`] does, and then the event must not happen.
    #[inline(always)]
    pub(super) fn event(&self, event: CacheEvent) -> Result<CacheAction> {
        let Some(cleaner) = self.tracker() else {
            return Ok(CacheState::Untracked.after(event).1);
        };
        self.lines.event(event, || self.invalidate(cleaner))
    }

    /// Invalidates all lines. Does not sleep. Fails as [`Cleaner::sync_for_cpu`] does.
    #[cold]
    fn invalidate(&self, cleaner: &Cleaner) -> Result {
        let direction = DataDirection::Bidirectional.into();
        self.memory.segments().try_for_each(|segment| {
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            unsafe { cleaner.sync_for_cpu(segment, direction) }
        })
    }

    /// Counts `event`, a map or unmap for a device past the caches, if that is how the device of
    /// the attachment accesses the memory. Returns the maintenance that the map or unmap requires.
    #[inline(always)]
    pub(super) fn maintenance(&self, event: CacheEvent, access: Access) -> Maintenance {
        match access {
            // Nothing is done before these events, so nothing fails.
            Access::PastCaches if self.event(event) == Ok(CacheAction::Skip) => {
                Maintenance::Skipped
            }
            _ => Maintenance::Usual,
        }
    }

    /// Maps a table for `device`. Fails as [`SgTable::map`] does, and with `EIO` if what devices
    /// have written cannot be made visible in the caches.
    pub(super) fn map_table(
        &self,
        table: &mut SgTable,
        device: &Device,
        direction: Direction,
        access: Access,
    ) -> Result {
        if access != Access::PastCaches {
            self.event(CacheEvent::MapThroughCaches)?;
        }
        let maintenance = self.maintenance(CacheEvent::MapPastCaches, access);
        let in_table = match maintenance {
            Maintenance::Usual if self.written_back_for(direction, access) => Maintenance::Skipped,
            maintenance => maintenance,
        };
        // SAFETY: The buffer owns the memory and outlives its attachments. By the invariants of
        // `Attachment` the table is not mapped. `unmap()` is called before the attachment is
        // dropped. The device accesses the memory itself if it must, as `map()` has checked;
        // maintenance is skipped for devices only that do.
        unsafe { table.map(device, direction, in_table) }.inspect_err(|_| {
            if access != Access::PastCaches {
                self.end_event(CacheEvent::UnmapThroughCaches);
            } else if maintenance == Maintenance::Usual {
                self.lines.not_cleaned();
            }
        })
    }

    /// Writes back all lines, if the map for a device that only writes would discard them: the
    /// zeroes of the memory may be in the caches only. Returns whether it has.
    fn written_back_for(&self, direction: Direction, access: Access) -> bool {
        let discards =
            access == Access::PastCaches && sync_direction(direction) == SyncDirection::FromDevice;
        if !MAPPING_DISCARDS || !discards {
            return false;
        }
        let Some(cleaner) = self.tracker() else {
            return false;
        };
        self.memory.segments().all(|segment| {
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            unsafe { cleaner.write_back(segment) }.is_ok()
        })
    }

    /// Counts the begin or the end of CPU access. Returns what it requires. Fails as
    /// [`Buffer::event`] does.
    #[inline(always)]
    pub(super) fn access_event(
        &self,
        event: CacheEvent,
        attached: &Attached<'_, Self>,
    ) -> Result<CacheAction> {
        if !attached.is_locked() && self.tracker().is_some() {
            // No importer has had the buffer mapped. One that comes now is later than this access.
            self.lines.unlocked_event(event);
            return Ok(CacheAction::Maintain);
        }
        self.event(event)
    }

    /// Counts an event that requires nothing.
    #[inline(always)]
    pub(super) fn end_event(&self, event: CacheEvent) {
        if self.tracker().is_some() {
            self.lines.unlocked_event(event);
        }
    }
}
