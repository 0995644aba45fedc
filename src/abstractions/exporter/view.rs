// SPDX-License-Identifier: GPL-2.0

//! Access to the dma-bufs that this module has exported, without knowledge of the exporter type.

use crate::{
    abstractions::{
        dma_buf::{
            ResvGuard,
            UncountedDmaBuf, //
        },
        sg_table::MappedTable,
        version, //
    },
    decisions::segment::Segment, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A static that identifies a type. Its address is compared, not its value.
pub(crate) struct ExtraKey(
    // Statics of a type without size may share an address.
    #[allow(dead_code)] u8,
);

impl ExtraKey {
    /// Creates a key.
    pub(crate) const fn new() -> Self {
        Self(0)
    }
}

/// What the owner of an exporter may keep with each dma-buf, to be found with [`extra`].
///
/// # Safety
///
/// `KEY` must refer to a static that no other type uses as its key.
pub(crate) unsafe trait Extra: Default + Send + Sync + 'static {
    /// Identifies the type.
    const KEY: &'static ExtraKey;
}

/// Functions that access a dma-buf of one exporter type.
#[derive(Clone, Copy)]
pub(super) struct View {
    /// The key of the exporter's [`Exporter::Extra`](super::Exporter::Extra).
    pub(super) extra_key: &'static ExtraKey,
    /// Calls a function for each segment of a dma-buf. The dma-buf must be valid and have been
    /// exported with this exporter type.
    pub(super) segments: unsafe fn(*mut bindings::dma_buf, &mut dyn FnMut(Segment)),
    /// Returns the scatter list of an attachment if it is mapped. The attachment must be one to a
    /// dma-buf that was exported with this exporter type, whose reservation lock must be held.
    pub(super) mapped:
        unsafe fn(*mut bindings::dma_buf_attachment) -> Option<NonNull<bindings::sg_table>>,
    /// Calls [`Exporter::end_tracking`](super::Exporter::end_tracking). The dma-buf must be valid
    /// and have been exported with this exporter type.
    pub(super) end_tracking: unsafe fn(*mut bindings::dma_buf) -> Result,
}

impl View {
    /// Returns the view of `dma_buf` if this module has exported it.
    fn of(dma_buf: &UncountedDmaBuf) -> Option<&'static Self> {
        let raw = dma_buf.as_raw();
        // SAFETY: The dma-buf is valid. If it is one of this module, `export()` has created it with
        // a `Private`, whose first field is a reference to its view.
        unsafe {
            if !ptr::eq((*raw).owner, version::this_module()) {
                return None;
            }
            Some(*(*raw).priv_.cast::<&'static Self>())
        }
    }
}

/// The first fields of every `Private` whose `Extra` is an `E`.
#[repr(C)]
struct Header<E> {
    view: &'static View,
    extra: E,
}

/// Returns the [`Exporter::Extra`](super::Exporter::Extra) of `dma_buf`, if this module has
/// exported it and the type is `E`. Does not sleep.
#[inline]
pub(crate) fn extra<E: Extra>(dma_buf: &UncountedDmaBuf) -> Option<&E> {
    View::of(dma_buf).filter(|view| ptr::eq(view.extra_key, E::KEY))?;
    // SAFETY: By the safety requirements of `Extra` no other type has this key, so `priv` points to
    // a `Private` that begins with these fields. It lives as long as the dma-buf.
    Some(unsafe { &(*(*dma_buf.as_raw()).priv_.cast::<Header<E>>()).extra })
}

/// Calls `f` for each segment of `dma_buf` if this module has exported it. Does not sleep.
pub(crate) fn for_each_segment(dma_buf: &UncountedDmaBuf, f: &mut dyn FnMut(Segment)) {
    if let Some(view) = View::of(dma_buf) {
        // SAFETY: The view is that of this dma-buf.
        unsafe { (view.segments)(dma_buf.as_raw(), f) };
    }
}

/// Calls [`Exporter::end_tracking`](super::Exporter::end_tracking) for `dma_buf`, if this module
/// has exported it. May sleep, and fails as that does.
pub(crate) fn end_tracking(dma_buf: &UncountedDmaBuf) -> Result {
    match View::of(dma_buf) {
        // SAFETY: The view is that of this dma-buf.
        Some(view) => unsafe { (view.end_tracking)(dma_buf.as_raw()) },
        None => Ok(()),
    }
}

/// Returns the scatter list of the first mapped attachment, if this module has exported the
/// dma-buf. Does not sleep.
pub(crate) fn mapped<'a>(guard: &'a ResvGuard<'_>) -> Option<MappedTable<'a>> {
    let view = View::of(guard.dma_buf())?;
    guard.attachments().find_map(|attachment| {
        // SAFETY: The view is that of this dma-buf, whose reservation lock is held.
        let table = unsafe { (view.mapped)(attachment) }?;
        // SAFETY: By the safety requirements of `Exporter` the table is mapped. It is not unmapped
        // while the lock is held.
        Some(unsafe { MappedTable::from_raw(table) })
    })
}
