// SPDX-License-Identifier: GPL-2.0

//! The attachments of a buffer, and their syncs for CPU access.

use super::Buffer;
use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        exporter::Attached,
        sg_table::{
            Direction,
            SgTable, //
        }, //
    },
    decisions::{
        memory::Memory,
        segment::Segment,
        sync_direction::{
            SyncDirection,
            SyncFor, //
        }, //
    },
    importer::Access, //
};
use kernel::{
    device::Device,
    dma::DataDirection,
    prelude::*, //
};

/// Returns a direction as the decision takes it. One that allows nothing is taken as one that
/// allows everything.
pub(super) fn sync_direction(direction: Direction) -> SyncDirection {
    if direction == DataDirection::ToDevice.into() {
        SyncDirection::ToDevice
    } else if direction == DataDirection::FromDevice.into() {
        SyncDirection::FromDevice
    } else {
        SyncDirection::Both
    }
}

/// The private data of an attachment.
///
/// # Invariants
///
/// `table` lists the memory of the buffer that the attachment belongs to. If and only if `mapped`
/// is `Some`, it is mapped for the attached device as that describes.
pub(super) struct Attachment {
    pub(super) table: SgTable,
    pub(super) mapped: Option<Mapped>,
}

/// A mapping of an attachment: its direction, how the device accesses the memory, and the number of
/// calls of `map()` that have not been undone.
#[derive(Clone, Copy)]
pub(super) struct Mapped {
    pub(super) direction: Direction,
    pub(super) access: Access,
    pub(super) users: usize,
}

impl Attachment {
    /// Returns how to sync the table for CPU access in `direction`: how the device accesses the
    /// memory, and the direction. Returns `None` if the table is not mapped.
    ///
    /// A device that only reads has written nothing that the CPU must see, and needs no more than
    /// what the CPU wrote. The other direction would overwrite that from a bounce buffer.
    #[inline]
    fn sync(&self, direction: Direction) -> Option<(Access, Direction)> {
        let mapped = self.mapped?;
        let only_reads = mapped.direction == Direction::from(DataDirection::ToDevice);
        let direction = if only_reads {
            mapped.direction
        } else {
            direction
        };
        Some((mapped.access, direction))
    }
}

impl<M: Memory> Buffer<M> {
    /// Syncs the buffer for the CPU or for devices, by `sync_table` for attachments with the device
    /// and the direction. If none is mapped, calls `sync_segment` for each segment with the heap's
    /// device, if that stands for those that never attach. So it does if no attachment's sync would
    /// do for these, which may read and write. Fails as `sync_segment` does.
    ///
    /// Devices that access the memory past the caches need the same maintenance, so one of them is
    /// synced. Each copy is synced by itself. What devices wrote to the memory is invalidated
    /// before copies are written to it through the caches, and read from there before lines are
    /// written back, which could discard them.
    pub(super) fn sync(
        &self,
        attached: &Attached<'_, Self>,
        direction: Direction,
        purpose: SyncFor,
        sync_table: impl Fn(&SgTable, &Device, Direction),
        sync_segment: impl Fn(&Cleaner, Segment) -> Result,
    ) -> Result {
        if attached.is_empty() {
            return self.for_device(sync_segment);
        }
        let mut has_copies = false;
        let mut past_caches = attached.iter().filter_map(|(device, attachment)| {
            match attachment.sync(direction)? {
                (Access::PastCaches, direction) => Some((device, &attachment.table, direction)),
                (access, _) => {
                    has_copies |= access == Access::Copied;
                    None
                }
            }
        });
        let does_for_all = |direction| sync_direction(direction).does_for_all(purpose);
        let first = past_caches.next();
        let one = past_caches.fold(first, |one, other| match does_for_all(other.2) {
            true => Some(other),
            false => one,
        });
        let suffices = one.is_some_and(|(_, _, direction)| does_for_all(direction));
        if has_copies && purpose == SyncFor::Device {
            Self::sync_copies(attached.iter(), direction, &sync_table);
        }
        match one {
            _ if !suffices && self.is_synced_for_addresses() => self.for_device(sync_segment)?,
            Some((device, table, direction)) => sync_table(table, device, direction),
            None => (),
        }
        if has_copies && purpose == SyncFor::Cpu {
            Self::sync_copies(attached.iter(), direction, &sync_table);
        }
        Ok(())
    }

    /// Calls `sync_table` for those of the `importers` whose devices access a copy.
    #[cold]
    #[inline(never)]
    fn sync_copies<'a>(
        importers: impl Iterator<Item = (&'a Device, &'a Attachment)>,
        direction: Direction,
        sync_table: &impl Fn(&SgTable, &Device, Direction),
    ) {
        for (device, attachment) in importers {
            if let Some((Access::Copied, direction)) = attachment.sync(direction) {
                sync_table(&attachment.table, device, direction);
            }
        }
    }
}
