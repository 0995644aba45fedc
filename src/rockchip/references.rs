// SPDX-License-Identifier: GPL-2.0

//! What drivers do with the pointers by which they know heaps.

use super::{
    remove,
    RkHeap,
    Role,
    HEAPS, //
};
use crate::bindings as c;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Looks up the heap named `name` and counts a reference to it. Does not sleep.
pub(crate) fn find(name: &CStr) -> Option<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    let entry = heaps
        .iter_mut()
        .find(|entry| entry.is_listed() && entry.heap.name() == name)?;
    entry.references = entry.references.saturating_add(1);
    Some(entry.heap.handle(Role::Finder))
}

/// Drops the reference of [`find`] or [`add_driver`] to `heap`. Returns false, and changes nothing,
/// if there is none.
///
/// Does not sleep for a reference of [`find`].
pub(crate) fn put(handle: *mut c::rk_dma_heap) -> bool {
    let found = {
        let mut heaps = HEAPS.lock();
        heaps
            .iter_mut()
            .find(|entry| entry.heap.handle(Role::Finder) == handle)
            .map(|entry| {
                let balanced = entry.references > 0;
                entry.references = entry.references.saturating_sub(1);
                balanced
            })
    };
    // The entry of a removed heap stays until the next addition or removal.
    found.unwrap_or_else(|| {
        remove(|heap| heap.driver().is_some() && heap.handle(Role::Adder) == handle)
    })
}

/// Calls `f` for the heap behind a driver's pointer. `f` must not sleep. Does not sleep.
pub(crate) fn with<R>(handle: *mut c::rk_dma_heap, f: impl FnOnce(&RkHeap) -> R) -> Option<R> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.heap.role(handle).is_some())
        .map(|entry| f(&entry.heap))
}

/// Looks up the heap behind a driver's pointer. Does not sleep; dropping the heap may.
pub(crate) fn lookup(handle: *mut c::rk_dma_heap) -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.heap.role(handle).is_some())
        .map(|entry| entry.heap.clone())
}

/// Returns the module's own heap, if it has an area. Does not sleep; dropping the heap may.
pub(crate) fn own_heap() -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.heap.area().is_some())
        .map(|entry| entry.heap.clone())
}
