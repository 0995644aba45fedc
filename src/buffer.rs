// SPDX-License-Identifier: GPL-2.0

//! Buffers: memory exported as a dma-buf.
//!
//! This file implements the dma-buf operations once, for every type of [`Memory`].
//!
//! # Locks
//!
//! [`exporter`] says which locks are held when attachments are accessed.

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
            Exporter, //
        },
        kernel_mapping::KernelMapping,
        sg_table::{
            Direction,
            SgTable, //
        },
        user_mapping::{
            self,
            Fault, //
        }, //
    },
    all_buffers,
    decisions::{
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        request::Request,
        segment::Segment, //
    },
    importer,
    ledger::{
        Account,
        Entry, //
    }, //
};
use core::ptr;
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
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
    export_synced(memory, account, request, None)
}

/// Exports `memory` as [`export`] does. While no importer has the buffer mapped, CPU access is
/// synced for `device`, as if that had it mapped, if its pages have a `struct page`.
///
/// The zeroes of the memory must have been written back if `device` sees the effect of that. The
/// first sync for CPU access would discard those that are in the caches only, and show the memory's
/// former content. Later they could overwrite what a device has written.
pub(crate) fn export_synced<M: Memory>(
    memory: impl Init<M, Error>,
    account: &Arc<Account>,
    request: Request,
    device: Option<Arc<Cleaner>>,
) -> Result<ARef<DmaBuf>> {
    let buffer = try_init!(Buffer {
        memory <- memory,
        entry: Account::add_buffer(account, request.size()),
        device,
    }? Error);
    let dma_buf = exporter::export(buffer, request.size(), request.flags())?;
    // SAFETY: The dma-buf is new. `Buffer::released()` calls `released_own()`.
    unsafe { all_buffers::exported_own(&dma_buf) }?;
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
    /// The device for which CPU access is synced while no importer has the buffer mapped.
    device: Option<Arc<Cleaner>>,
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

    /// Calls `f` for each segment with the device for buffers that no importer has mapped, if this
    /// buffer has one. Fails as `f` does.
    fn for_device(&self, f: impl Fn(&Cleaner, Segment) -> Result) -> Result {
        match &self.device {
            Some(device) if self.memory.backing() == Backing::Pages => self
                .memory
                .segments()
                .try_for_each(|segment| f(device, segment)),
            _ => Ok(()),
        }
    }

    /// Calls `sync_table` for each mapped attachment, with its device and the direction of the
    /// sync. If there is none, calls `sync_segment` for each segment with the device for buffers
    /// that no importer has mapped, if this buffer has one. Fails as `sync_segment` does.
    fn sync(
        &self,
        attached: &Attached<'_, Self>,
        direction: Direction,
        sync_table: impl Fn(&SgTable, &Device, Direction),
        sync_segment: impl Fn(&Cleaner, Segment) -> Result,
    ) -> Result {
        let mut is_mapped = false;
        attached.for_each(|device, attachment| {
            if let Some(direction) = attachment.sync_direction(direction) {
                is_mapped = true;
                sync_table(&attachment.table, device, direction);
            }
        });
        if is_mapped {
            return Ok(());
        }
        self.for_device(sync_segment)
    }
}

/// The private data of an attachment.
///
/// # Invariants
///
/// `table` lists the memory of the buffer that the attachment belongs to. If and only if `mapped`
/// is `Some`, it is mapped for the attached device in direction `mapped.0`, and `mapped.1` calls of
/// `map()` have not been undone.
struct Attachment {
    table: SgTable,
    mapped: Option<(Direction, usize)>,
}

impl Attachment {
    /// Returns the direction in which to sync the table for CPU access in `direction`, or `None` if
    /// the table is not mapped.
    ///
    /// A device that only reads has written nothing that the CPU must see, and needs no more than
    /// what the CPU wrote. The other direction would overwrite that from a bounce buffer.
    fn sync_direction(&self, direction: Direction) -> Option<Direction> {
        let (mapped, _) = self.mapped?;
        let only_reads = mapped == Direction::from(DataDirection::ToDevice);
        Some(if only_reads { mapped } else { direction })
    }
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

    fn attach(&self, device: &Device) -> Result<Attachment> {
        importer::check_attach(&self.memory, self.name(), device)?;
        let max_entry_bytes = importer::max_entry_bytes(&self.memory, device);
        // INVARIANT: The table is new, so it is not mapped.
        Ok(Attachment {
            table: SgTable::new(&self.memory, max_entry_bytes)?,
            mapped: None,
        })
    }

    fn map<'a>(
        &'a self,
        attachment: &'a mut Attachment,
        device: &Device,
        direction: Direction,
    ) -> Result<&'a SgTable> {
        let users = match attachment.mapped {
            // A table has one set of device addresses, which users in the same direction share.
            Some((mapped, users)) if mapped == direction => {
                let users = users.checked_add(1).ok_or(EBUSY)?;
                if self.syncs() {
                    // The CPU may have written since the table was mapped.
                    // SAFETY: The table lists pages and is mapped for the attached device.
                    unsafe { attachment.table.sync_for_device(device, direction) };
                }
                users
            }
            Some(_) => return Err(EBUSY),
            None => {
                importer::check_map(&self.memory, self.name(), device)?;
                // SAFETY: The buffer owns the memory and outlives its attachments. By the type's
                // invariant the table is not mapped. `unmap()` is called before the attachment is
                // dropped. The device accesses the memory itself if it must, as checked above.
                unsafe { attachment.table.map(device, direction) }?;
                1
            }
        };
        // INVARIANT: The table is mapped in this direction, for one more user.
        attachment.mapped = Some((direction, users));
        Ok(&attachment.table)
    }

    fn unmap(&self, attachment: &mut Attachment, device: &Device, _direction: Direction) {
        // INVARIANT: The table is unmapped with its last user.
        match attachment.mapped.take() {
            Some((direction, users)) if users > 1 => {
                if self.syncs() {
                    // This user's device may have written, and the CPU may read what it wrote.
                    // SAFETY: The table lists pages and is mapped for the attached device.
                    unsafe { attachment.table.sync_for_cpu(device, direction) };
                }
                attachment.mapped = Some((direction, users - 1))
            }
            // SAFETY: The table is mapped for the attached device in this direction, by the type's
            // invariant.
            Some((direction, _)) => unsafe { attachment.table.unmap(device, direction) },
            None => {}
        }
    }

    fn syncs(&self) -> bool {
        self.memory.caching() == Caching::Cached
    }

    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        if let Some(mapping) = attached.kernel_mapping() {
            mapping.invalidate();
        }
        self.sync(
            &attached,
            direction,
            // SAFETY: By the invariant of `Attachment` the table is mapped for the attached device.
            |table, device, direction| unsafe { table.sync_for_cpu(device, direction) },
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            |device, segment| unsafe { device.sync_for_cpu(segment, direction) },
        )
    }

    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        if let Some(mapping) = attached.kernel_mapping() {
            mapping.flush();
        }
        self.sync(
            &attached,
            direction,
            // SAFETY: By the invariant of `Attachment` the table is mapped for the attached device.
            |table, device, direction| unsafe { table.sync_for_device(device, direction) },
            // SAFETY: The buffer owns the pages of its segments, which have a `struct page`.
            |device, segment| unsafe { device.sync_for_device(segment, direction) },
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
