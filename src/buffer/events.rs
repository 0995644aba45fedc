// SPDX-License-Identifier: GPL-2.0

//! Events that change what the CPU's caches hold of a buffer's memory, and what they require.

use super::{
    importers::sync_direction,
    lines::Lines,
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
            Exporter,
            Viewer, //
        },
        sg_table::{
            Direction,
            Maintenance,
            SgTable, //
        },
        signal,
        task, //
    },
    decisions::{
        cache_state::{
            CacheAction,
            CacheEvent, //
        },
        memory::{
            Backing,
            Memory, //
        }, //
    },
    importer::Access, //
};
use kernel::{
    device::Device,
    dma::DataDirection,
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The number of pages whose lines are invalidated between two checks for a signal: those of 4 MiB.
const CHECKED_PAGES: usize = (4 << 20) >> PAGE_SHIFT;

impl<M: Memory> Buffer<M> {
    /// Returns the device for invalidation, if it may be known what the CPU's caches hold of the
    /// memory.
    ///
    /// Write-combined memory needs no maintenance. Of devices that never attach nothing is known.
    /// Without a device that is effective, all devices snoop or have bounce buffers.
    #[inline]
    fn tracker(&self) -> Option<&Cleaner> {
        self.entry.cleaner().filter(|_| self.may_be_tracked())
    }

    /// Returns whether it may be known what the CPU's caches hold of the memory.
    #[inline]
    fn may_be_tracked(&self) -> bool {
        self.entry.is_cleaned()
            && !self.for_addresses
            && self.memory.backing() == Backing::Pages
            && self.syncs()
    }

    /// Does not track what the CPU's caches hold of the memory, if that is not known.
    #[inline]
    pub(super) fn check_tracking(&mut self) {
        if !self.may_be_tracked() {
            self.lines = Lines::untracked();
        }
    }

    /// Counts an event, and does what must be done before it. Returns what it requires otherwise.
    ///
    /// May sleep. The lock of the importers must be held, unless there has been none yet. Fails as
    /// [`Cleaner::sync_for_cpu`] does, and then the event must not happen.
    #[inline(always)]
    pub(super) fn event(&self, event: CacheEvent) -> Result<CacheAction> {
        self.lines
            .event(event, |action| self.prepare(action, || Ok(())))
    }

    /// Counts an event as [`Buffer::event`] does, and fails with `EINTR` if a fatal signal arrives
    /// meanwhile.
    ///
    /// May sleep. The lock of the importers must be held.
    fn killable_event(&self, event: CacheEvent) -> Result {
        self.lines
            .event(event, |action| self.prepare(action, signal::check_fatal))
            .map(|_| ())
    }

    /// Counts a new mapping of the CPU with the lock of the importers, which `lock` acquires: that
    /// of a process as [`Buffer::killable_event`] does, that of the kernel as [`Buffer::event`]
    /// does. May sleep.
    #[cold]
    #[inline(never)]
    pub(super) fn locked_view<'a>(
        &'a self,
        viewer: Viewer,
        lock: impl FnOnce() -> Attached<'a, Self>,
    ) -> Result {
        // An importer has had the buffer mapped, so there is a lock.
        let _attached = lock();
        match viewer {
            Viewer::Process => self.killable_event(CacheEvent::ViewBegins),
            Viewer::Kernel => self.event(CacheEvent::ViewBegins).map(|_| ()),
        }
    }

    /// Does `action`, which is one for all lines. Calls `check` before each part of them, and fails
    /// as it does, or as [`Cleaner::sync_for_cpu`]. May sleep.
    #[cold]
    fn prepare(&self, action: CacheAction, check: impl Fn() -> Result) -> Result {
        // Only lines of a tracked buffer require this.
        let Some(cleaner) = self.tracker() else {
            return Ok(());
        };
        let direction = DataDirection::Bidirectional.into();
        let mut parts = self
            .memory
            .segments()
            .flat_map(|segment| segment.chunks(CHECKED_PAGES));
        parts.try_for_each(|part| {
            task::reschedule();
            check()?;
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            unsafe {
                if action == CacheAction::Flush {
                    cleaner.sync_for_device(part, direction)?;
                }
                cleaner.sync_for_cpu(part, direction)
            }
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
        let in_table = self.rest_of_maintenance(maintenance, direction, access);
        // SAFETY: The buffer owns the memory and outlives its attachments. By the invariants of
        // `Attachment` the table is not mapped. `unmap()` is called before the attachment is
        // dropped. The device accesses the memory itself if it must, as `map()` has checked;
        // maintenance is skipped for devices only that do.
        unsafe { table.map(device, direction, in_table) }.inspect_err(|_| {
            if access != Access::PastCaches {
                self.lines.unlocked_event(CacheEvent::UnmapThroughCaches);
            } else if maintenance == Maintenance::Usual {
                self.lines.not_cleaned();
            }
        })
    }

    /// Writes back all lines if maintenance for a device would discard them. Returns what is left
    /// of `maintenance`: nothing, unless the device may have a copy of some of the memory.
    pub(super) fn rest_of_maintenance(
        &self,
        maintenance: Maintenance,
        direction: Direction,
        access: Access,
    ) -> Maintenance {
        let snoops = access == Access::Snooping;
        if MAPPING_DISCARDS
            && maintenance == Maintenance::Usual
            && sync_direction(direction).needs_write_back(snoops)
            && self.written_back()
            && access == Access::PastCaches
        {
            Maintenance::Skipped
        } else {
            maintenance
        }
    }

    /// Writes back all lines, if the buffer may be tracked. Returns whether it has.
    fn written_back(&self) -> bool {
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
        let is_usual = match event {
            CacheEvent::AccessBegins => self.lines.may_have_mapping(),
            _ => !self.lines.is_locked(),
        };
        if is_usual {
            return Ok(CacheAction::Maintain);
        }
        self.unusual_access(event, attached.is_locked())
    }

    /// Counts the begin or the end of CPU access as [`Buffer::access_event`] does, in any state.
    #[cold]
    #[inline(never)]
    fn unusual_access(&self, event: CacheEvent, is_locked: bool) -> Result<CacheAction> {
        if !is_locked {
            // There has been no importer, so there is none with a mapping of its own.
            return Ok(CacheAction::Maintain);
        }
        self.event(event)
    }
}
