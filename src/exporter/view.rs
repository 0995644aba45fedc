// SPDX-License-Identifier: GPL-2.0

//! Looking at the dma-bufs that this module has exported, whatever their exporters are.

use super::Private;
use crate::{
    all_buffers::Slot,
    dma_buf::{DmaBuf, Locked},
    ledger::Account,
    segment::Segment,
    sg_table::MappedTable,
    version,
};
use core::ptr::{self, NonNull};
use kernel::bindings;

/// Functions that look at a dma-buf of one exporter.
#[derive(Clone, Copy)]
pub(super) struct View {
    /// Only for a dma-buf of that exporter.
    pub(super) segments: unsafe fn(*mut bindings::dma_buf, &mut dyn FnMut(Segment)),
    /// Only for an attachment to one, its reservation lock held.
    pub(super) mapped:
        unsafe fn(*mut bindings::dma_buf_attachment) -> Option<NonNull<bindings::sg_table>>,
}

impl View {
    /// The view of `dma_buf`, if it is of this module.
    fn of(dma_buf: &DmaBuf) -> Option<Self> {
        let raw = dma_buf.as_raw();
        // SAFETY: The dma-buf is valid. Every dma-buf of this module was made by `export()`, with such a `priv`.
        unsafe {
            if !ptr::eq((*raw).owner, version::this_module()) {
                return None;
            }
            Some((*(*raw).priv_.cast::<Private<()>>()).view)
        }
    }
}

/// Where the record of `dma_buf` lies, if that is of this module.
pub(crate) fn record_slot(dma_buf: &DmaBuf) -> Option<NonNull<Slot>> {
    let raw = dma_buf.as_raw();
    // SAFETY: As in `View::of()`.
    unsafe {
        if !ptr::eq((*raw).owner, version::this_module()) {
            return None;
        }
        Some(NonNull::from(&(*(*raw).priv_.cast::<Private<()>>()).record))
    }
}

/// Calls `f` for each segment of a dma-buf of this module, and does nothing for others. Does not sleep.
fn for_each_segment(dma_buf: &DmaBuf, f: &mut dyn FnMut(Segment)) {
    if let Some(view) = View::of(dma_buf) {
        // SAFETY: The view is that of this dma-buf.
        unsafe { (view.segments)(dma_buf.as_raw(), f) };
    }
}

/// Where the memory of `dma_buf` lies, if it is contiguous memory of the heap with this `account`.
pub(crate) fn segment_of(dma_buf: &DmaBuf, account: &Account) -> Option<Segment> {
    // The exporter's name is not just equal, it is the account's.
    if !ptr::eq(dma_buf.exporter(), account.heap()) {
        return None;
    }
    let mut whole: Option<Segment> = None;
    for_each_segment(dma_buf, &mut |segment| {
        whole = Some(match whole {
            None => segment,
            Some(first) => Segment {
                frame: first.frame,
                pages: first.pages + segment.pages,
            },
        });
    });
    whole
}

/// The scatter list of the first attachment to a dma-buf of this module that is mapped.
pub(crate) fn mapped<'a>(locked: &'a Locked<'_>) -> Option<MappedTable<'a>> {
    let view = View::of(locked.dma_buf())?;
    locked.attachments().find_map(|attachment| {
        // SAFETY: The view is that of this dma-buf, whose lock is held.
        let table = unsafe { (view.mapped)(attachment) }?;
        // SAFETY: The table stays mapped while the lock is held.
        Some(unsafe { MappedTable::from_raw(table) })
    })
}
