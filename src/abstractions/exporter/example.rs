// SPDX-License-Identifier: GPL-2.0

//! A minimal exporter for examples.

use super::{
    Attached,
    Exporter,
    Extra,
    ExtraKey,
    Viewer, //
};
use crate::{
    abstractions::{
        dma_device,
        kernel_mapping::KernelMapping,
        pages::{
            self,
            PageRun,
            Reclaim,
            RunList,
            Zone, //
        },
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
    decisions::{
        memory::{
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    mm::virt::VmaNew,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::Atomic, //
};

/// Zeroed pages, cached.
struct ZeroedPages(RunList);

// SAFETY: The list owns its pages, which are zeroed when they are allocated, and never changes.
unsafe impl Memory for ZeroedPages {
    type Segments<'a> = pages::Segments<'a>;

    fn segments(&self) -> Self::Segments<'_> {
        self.0.segments()
    }

    fn pages(&self) -> usize {
        self.0.pages()
    }

    fn caching(&self) -> Caching {
        Caching::Cached
    }
}

/// The data that is created with each dma-buf.
pub(crate) struct Tag {
    /// The value, at first 0.
    pub(crate) value: Atomic<u32>,
}

static TAG_KEY: ExtraKey = ExtraKey::new();

// SAFETY: No other type uses this key.
unsafe impl Extra for Tag {
    const KEY: &'static ExtraKey = &TAG_KEY;
}

impl Default for Tag {
    fn default() -> Self {
        Self {
            value: Atomic::new(0),
        }
    }
}

/// The data of an attachment.
///
/// # Invariants
///
/// `table` describes the memory of the exporter, and is mapped for the attached device if `mapped`
/// is set.
pub(crate) struct Attachment {
    table: SgTable,
    mapped: Option<Direction>,
}

/// An exporter of zeroed pages.
pub(crate) struct PageExporter {
    memory: ZeroedPages,
}

impl PageExporter {
    /// Allocates `pages` pages. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(pages: usize) -> Result<Self> {
        let mut list = RunList::new(0);
        for _ in 0..pages {
            list.push(PageRun::allocate(0, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
        }
        Ok(Self {
            memory: ZeroedPages(list),
        })
    }
}

#[vtable]
// SAFETY: All methods use the memory that the exporter owns. `Attachment::mapped` is set while the
// table is mapped, and the table does not move.
unsafe impl Exporter for PageExporter {
    type Attachment = Attachment;
    type Extra = Tag;

    fn name(&self) -> &CStr {
        c"rk_dma_heap_example"
    }

    fn size(&self) -> usize {
        self.memory.pages() * PAGE_SIZE
    }

    fn attach(&self, device: &Device) -> Result<impl Init<Attachment, Error>> {
        let table = SgTable::new(&self.memory, dma_device::max_segment_size(device))?;
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
        if attachment.mapped.is_some() {
            return Err(EBUSY);
        }
        // SAFETY: The exporter owns the memory and outlives its attachments. By the type invariants
        // the table is not mapped. The core calls `unmap()` before the attachment is dropped.
        unsafe { attachment.table.map(device, direction, Maintenance::Usual) }?;
        // INVARIANT: The table was mapped above.
        attachment.mapped = Some(direction);
        Ok(&attachment.table)
    }

    fn unmap(&self, attachment: &mut Attachment, device: &Device, _direction: Direction) {
        // INVARIANT: The table is unmapped below.
        if let Some(direction) = attachment.mapped.take() {
            // SAFETY: By the type invariants the table is mapped for the device in this direction.
            unsafe {
                attachment
                    .table
                    .unmap(device, direction, Maintenance::Usual)
            };
        }
    }

    fn begin_view<'a>(
        &'a self,
        _viewer: Viewer,
        _lock: impl FnOnce() -> Attached<'a, Self>,
    ) -> Result {
        Ok(())
    }

    fn end_view(&self) {}

    fn end_tracking<'a>(&'a self, _lock: impl FnOnce() -> Attached<'a, Self>) -> Result {
        Ok(())
    }

    fn syncs(&self) -> bool {
        true
    }

    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        for (device, attachment) in attached.iter() {
            if attachment.mapped.is_some() {
                // SAFETY: By the type invariants the table is mapped for the device.
                unsafe { attachment.table.sync_for_cpu(device, direction) };
            }
        }
        Ok(())
    }

    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result {
        for (device, attachment) in attached.iter() {
            if attachment.mapped.is_some() {
                // SAFETY: By the type invariants the table is mapped for the device.
                unsafe { attachment.table.sync_for_device(device, direction) };
            }
        }
        Ok(())
    }

    fn mmap(&self, vma: &VmaNew) -> Result {
        // SAFETY: The file of the VMA is that of the dma-buf, which owns the exporter and so the
        // memory.
        unsafe { user_mapping::populate(vma, self.memory.segments(), Caching::Cached) }
    }

    fn fault(&self, fault: &Fault) -> bindings::vm_fault_t {
        // SAFETY: As in `mmap()`.
        unsafe { fault.handle(|page| self.memory.segments().nth(page)) }
    }

    fn vmap(&self) -> Result<KernelMapping> {
        // SAFETY: The dma-buf owns the exporter and so the memory, and outlives the mapping.
        unsafe { KernelMapping::new(&self.memory) }
    }

    fn for_each_segment(&self, f: &mut dyn FnMut(Segment)) {
        self.memory.segments().for_each(f);
    }

    fn mapped(attachment: &Attachment) -> Option<&SgTable> {
        attachment.mapped.map(|_| &attachment.table)
    }

    fn released(_tag: &Tag) {}
}
