// SPDX-License-Identifier: GPL-2.0

//! Looking at the dma-bufs that this module has exported, whatever their exporters are.

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            Locked, //
        },
        sg_table::MappedTable,
        version, //
    },
    decisions::segment::Segment, //
};
use core::{
    any::TypeId,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::bindings;

/// Functions that look at a dma-buf of one exporter.
#[derive(Clone, Copy)]
pub(super) struct View {
    /// The type that `extra` points to.
    pub(super) extra_type: fn() -> TypeId,
    /// The `Extra` of a dma-buf of that exporter.
    pub(super) extra: unsafe fn(*mut bindings::dma_buf) -> NonNull<()>,
    /// Only for a dma-buf of that exporter.
    pub(super) segments: unsafe fn(*mut bindings::dma_buf, &mut dyn FnMut(Segment)),
    /// Only for an attachment to one, its reservation lock held.
    pub(super) mapped:
        unsafe fn(*mut bindings::dma_buf_attachment) -> Option<NonNull<bindings::sg_table>>,
}

impl View {
    /// The view of `dma_buf`, if this module has exported it.
    fn of(dma_buf: &DmaBuf) -> Option<&'static Self> {
        let raw = dma_buf.as_raw();
        // SAFETY: The dma-buf is valid. Every dma-buf of this module was created by `export()`,
        // with a `Private`, whose first field is a reference to its view.
        unsafe {
            if !ptr::eq((*raw).owner, version::this_module()) {
                return None;
            }
            Some(*(*raw).priv_.cast::<&'static Self>())
        }
    }
}

/// What is kept with `dma_buf` as [`Exporter::Extra`](super::Exporter::Extra), if this module has
/// exported it with an `Extra` of type `E`. Does not sleep.
pub(crate) fn extra<E: 'static>(dma_buf: &DmaBuf) -> Option<&E> {
    let view = View::of(dma_buf).filter(|view| (view.extra_type)() == TypeId::of::<E>())?;
    // SAFETY: The view is that of this dma-buf, and its extra has the type `E`. It lives as long as
    // the dma-buf.
    Some(unsafe { (view.extra)(dma_buf.as_raw()).cast().as_ref() })
}

/// Calls `f` for each segment of a dma-buf that this module has exported, and not at all for
/// others. Does not sleep.
pub(crate) fn for_each_segment(dma_buf: &DmaBuf, f: &mut dyn FnMut(Segment)) {
    if let Some(view) = View::of(dma_buf) {
        // SAFETY: The view is that of this dma-buf.
        unsafe { (view.segments)(dma_buf.as_raw(), f) };
    }
}

/// The scatter list of the first attachment that is mapped, of a dma-buf that this module has
/// exported.
pub(crate) fn mapped<'a>(locked: &'a Locked<'_>) -> Option<MappedTable<'a>> {
    let view = View::of(locked.dma_buf())?;
    locked.attachments().find_map(|attachment| {
        // SAFETY: The view is that of this dma-buf, whose lock is held.
        let table = unsafe { (view.mapped)(attachment) }?;
        // SAFETY: The table stays mapped while the lock is held.
        Some(unsafe { MappedTable::from_raw(table) })
    })
}
