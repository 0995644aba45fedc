// SPDX-License-Identifier: GPL-2.0

//! Buffers: memory exported as a dma-buf.
//!
//! This file implements the dma-buf operations once, for every type of [`Memory`].
//!
//! # Locks
//!
//! [`exporter`] says which locks are held when attachments are accessed.

mod events;
mod importers;
mod lines;
mod tracking;

use importers::{
    Attachment,
    Mapped, //
};
use lines::Lines;
pub(crate) use tracking::Tracking;

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        dma_buf::{
            DmaBuf,
            UncountedDmaBuf, //
        },
        exporter::{
            self,
            Attached,
            Exporter,
            Viewer, //
        },
        kernel_mapping::KernelMapping,
        sg_table::{
            Direction,
            Maintenance,
            SgTable, //
        },
        user_mapping::{
            self,
            Fault, //
        }, //
    },
    all_buffers,
    decisions::{
        cache_state::{
            CacheAction,
            CacheEvent, //
        },
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        request::Request,
        segment::Segment,
        sync_direction::SyncFor, //
    },
    importer::{
        self,
        Access, //
    },
    ledger::{
        Account,
        Entry, //
    }, //
};
use core::ptr;
use kernel::{
    bindings,
    device::Device,
    mm::virt::VmaNew,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// Exports `memory` as a new dma-buf of `request`'s size, which `account` counts.
///
/// May sleep. Fails with `ENOMEM`, and as `memory` or `dma_buf_export()` does.
pub(crate) fn export<M: Memory>(
    memory: impl Init<M, Error>,
    account: &Arc<Account>,
    request: Request,
) -> Result<ARef<DmaBuf>> {
    export_as(memory, account, request, false)
}

/// Exports `memory` as [`export`] does, for devices that never attach. While no importer has the
/// buffer mapped, CPU access is synced for the account's cleaner, as if that had it mapped, if its
/// pages have a `struct page`.
///
/// The zeroes of the memory must have been written back if such a device sees the effect of that.
/// The first sync for CPU access would discard those that are in the caches only, and show the
/// memory's former content. Later they could overwrite what a device has written.
pub(crate) fn export_for_addresses<M: Memory>(
    memory: impl Init<M, Error>,
    account: &Arc<Account>,
    request: Request,
) -> Result<ARef<DmaBuf>> {
    export_as(memory, account, request, true)
}

fn export_as<M: Memory>(
    memory: impl Init<M, Error>,
    account: &Arc<Account>,
    request: Request,
    for_addresses: bool,
) -> Result<ARef<DmaBuf>> {
    let buffer = try_init!(Buffer {
        memory <- memory,
        entry: Account::add_buffer(account, request.size()),
        lines: Lines::of_new_memory(),
        for_addresses,
    }? Error)
    .chain(|buffer| {
        buffer.check_tracking();
        if buffer.memory.is_beyond_area() {
            buffer.entry.count_beyond_area();
        }
        Ok(())
    });
    let dma_buf = exporter::export(buffer, request.size(), request.flags())?;
    // SAFETY: The dma-buf is new. `Buffer::released()` calls `released_own()`.
    unsafe { all_buffers::exported_own(&dma_buf) }?;
    // Hibernation may have begun before the buffer was recorded, or nothing is tracked at all.
    if !tracking::of_new_buffers() {
        exporter::end_tracking(&dma_buf)?;
    }
    Ok(dma_buf)
}

/// Returns the memory of `dma_buf`, if it is a contiguous buffer of the heap with this `account`.
/// Does not sleep.
pub(crate) fn contiguous_segment(dma_buf: &UncountedDmaBuf, account: &Account) -> Option<Segment> {
    // The exporter's name of such a buffer is the string of the account itself.
    if !ptr::eq(dma_buf.exporter(), account.heap_name()) {
        return None;
    }
    let mut whole: Option<Segment> = None;
    exporter::for_each_segment(dma_buf, &mut |segment| {
        whole = Some(match whole {
            None => segment,
            Some(first) => Segment {
                pfn: first.pfn,
                pages: first.pages + segment.pages,
            },
        });
    });
    whole
}

/// The private data of each dma-buf of the module.
///
/// The fields are dropped in this order, so the account counts a buffer until its memory is freed.
struct Buffer<M: Memory> {
    memory: M,
    entry: Entry,
    /// What the CPU's caches may hold of the memory.
    lines: Lines,
    /// Whether CPU access is synced while no importer has the buffer mapped.
    for_addresses: bool,
}

impl<M: Memory> Buffer<M> {
    /// Returns the part of a segment that begins with page `page` of the buffer.
    fn segment_from(&self, mut page: usize) -> Option<Segment> {
        self.memory.segments().find_map(|segment| {
            let part = segment.skip(page);
            page = page.saturating_sub(segment.pages);
            part
        })
    }

    /// Returns whether there are devices for which CPU access can be synced that never attach.
    fn is_synced_for_addresses(&self) -> bool {
        self.for_addresses && self.entry.is_cleaned() && self.memory.backing() == Backing::Pages
    }

    /// Calls `f` for each segment with the heap's device, if CPU access is synced while no importer
    /// has the buffer mapped. Fails as `f` does.
    #[inline(never)]
    fn for_device(&self, f: impl Fn(&Cleaner, Segment) -> Result) -> Result {
        match self.entry.cleaner() {
            Some(cleaner) if self.for_addresses && self.memory.backing() == Backing::Pages => self
                .memory
                .segments()
                .try_for_each(|segment| f(cleaner, segment)),
            _ => Ok(()),
        }
    }
}

// Buffers without a kernel mapping pay less for their syncs if these are no part of them.
#[inline(never)]
fn invalidate(mapping: &KernelMapping) {
    mapping.invalidate();
}

#[inline(never)]
fn flush(mapping: &KernelMapping) {
    mapping.flush();
}

#[vtable]
// SAFETY: All methods use the memory that the buffer owns. By the invariants of `Attachment` its
// table is mapped while `mapped` is set, and it does not move.
unsafe impl<M: Memory> Exporter for Buffer<M> {
    type Attachment = Attachment;
    type Extra = all_buffers::OwnSlot;

    fn name(&self) -> &CStr {
        self.entry.heap_name()
    }

    fn size(&self) -> usize {
        self.memory.pages() * PAGE_SIZE
    }

    fn attach(&self, device: &Device) -> Result<impl Init<Attachment, Error>> {
        importer::check_attach(&self.memory, self.name(), device)?;
        let max_entry_bytes = importer::max_entry_bytes(&self.memory, device);
        let table = SgTable::new(&self.memory, max_entry_bytes)?;
        // INVARIANT: The table is new, so it is not mapped.
        Ok(try_init!(Attachment {
            table <- table,
            mapped: None,
        }? Error))
    }

    fn map<'a>(
        &'a self,
        attachment: &'a mut Attachment,
        device: &Device,
        direction: Direction,
    ) -> Result<&'a SgTable> {
        let mapped = match attachment.mapped {
            // A table has one set of device addresses, which users in the same direction share.
            Some(mapped) if mapped.direction == direction => {
                let users = mapped.users.checked_add(1).ok_or(EBUSY)?;
                // The CPU may have written since the table was mapped.
                let maintenance = self.maintenance(CacheEvent::MapPastCaches, mapped.access);
                let maintenance = self.rest_of_maintenance(maintenance, direction, mapped.access);
                if self.syncs() && maintenance == Maintenance::Usual {
                    // SAFETY: The table lists pages and is mapped for the attached device.
                    unsafe { attachment.table.sync_for_device(device, direction) };
                }
                Mapped { users, ..mapped }
            }
            Some(_) => return Err(EBUSY),
            None => {
                importer::check_map(&self.memory, self.name(), device)?;
                let access = importer::access(&self.memory, device);
                self.map_table(&mut attachment.table, device, direction, access)?;
                Mapped {
                    direction,
                    access,
                    users: 1,
                }
            }
        };
        // INVARIANT: The table is mapped in this direction, for one more user.
        attachment.mapped = Some(mapped);
        Ok(&attachment.table)
    }

    fn unmap(&self, attachment: &mut Attachment, device: &Device, _direction: Direction) {
        // INVARIANT: The table is unmapped with its last user.
        let Some(mapped) = attachment.mapped.take() else {
            return;
        };
        let maintenance = self.maintenance(CacheEvent::UnmapPastCaches, mapped.access);
        if mapped.users > 1 {
            if self.syncs() && maintenance == Maintenance::Usual {
                // This user's device may have written, and the CPU may read what it wrote.
                // SAFETY: The table lists pages and is mapped for the attached device.
                unsafe { attachment.table.sync_for_cpu(device, mapped.direction) };
            }
            attachment.mapped = Some(Mapped {
                users: mapped.users - 1,
                ..mapped
            });
            return;
        }
        // SAFETY: The table is mapped for the attached device in this direction, by the type's
        // invariant. Maintenance is skipped only for devices that access the memory themselves.
        unsafe {
            attachment
                .table
                .unmap(device, mapped.direction, maintenance)
        };
        if mapped.access != Access::PastCaches {
            self.lines.unlocked_event(CacheEvent::UnmapThroughCaches);
        }
    }

    #[inline]
    fn begin_view<'a>(
        &'a self,
        viewer: Viewer,
        lock: impl FnOnce() -> Attached<'a, Self>,
    ) -> Result {
        if self.lines.unlocked_event(CacheEvent::ViewBegins) {
            return Ok(());
        }
        self.locked_view(viewer, lock)
    }

    fn end_tracking<'a>(&'a self, lock: impl FnOnce() -> Attached<'a, Self>) -> Result {
        if self.lines.unlocked_event(CacheEvent::TrackingEnds) {
            return Ok(());
        }
        // An importer has had the buffer mapped, so there is a lock.
        let _attached = lock();
        self.event(CacheEvent::TrackingEnds).map(|_| ())
    }

    #[inline]
    fn end_view(&self) {
        self.lines.unlocked_event(CacheEvent::ViewEnds);
    }

    fn syncs(&self) -> bool {
        self.memory.caching() == Caching::Cached
    }

    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        if let Some(mapping) = attached.kernel_mapping() {
            invalidate(mapping);
        }
        if self.access_event(CacheEvent::AccessBegins, &attached)? == CacheAction::Invalidate {
            // There were no copies, and all lines are invalid.
            return Ok(());
        }
        self.sync(
            &attached,
            direction,
            SyncFor::Cpu,
            // SAFETY: By the invariant of `Attachment` the table is mapped for the attached device.
            |table, device, direction| unsafe { table.sync_for_cpu(device, direction) },
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            move |device, segment| unsafe { device.sync_for_cpu(segment, direction) },
        )
    }

    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        if let Some(mapping) = attached.kernel_mapping() {
            flush(mapping);
        }
        if self.access_event(CacheEvent::AccessEnds, &attached)? == CacheAction::Flush {
            // There are no copies, and all lines are written back.
            return Ok(());
        }
        self.sync(
            &attached,
            direction,
            SyncFor::Device,
            // SAFETY: By the invariant of `Attachment` the table is mapped for the attached device.
            |table, device, direction| unsafe { table.sync_for_device(device, direction) },
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            move |device, segment| unsafe { device.sync_for_device(segment, direction) },
        )
    }

    fn mmap(&self, vma: &VmaNew) -> Result {
        // SAFETY: The VMA's file is that of the dma-buf, which keeps the buffer and so its memory
        // alive. A process that may map the buffer may access all of the memory.
        unsafe { user_mapping::populate(vma, self.memory.segments(), self.memory.caching()) }
    }

    fn fault(&self, fault: &Fault) -> bindings::vm_fault_t {
        // SAFETY: As in `mmap()`.
        unsafe { fault.handle(|page| self.segment_from(page)) }
    }

    fn vmap(&self) -> Result<KernelMapping> {
        // SAFETY: The dma-buf core keeps the buffer alive while it is mapped, and the buffer owns
        // the memory.
        unsafe { KernelMapping::new(&self.memory) }
    }

    fn for_each_segment(&self, f: &mut dyn FnMut(Segment)) {
        self.memory.segments().for_each(f);
    }

    fn mapped(attachment: &Attachment) -> Option<&SgTable> {
        attachment.mapped.map(|_| &attachment.table)
    }

    fn released(record: &all_buffers::OwnSlot) {
        all_buffers::released_own(record);
    }
}
