// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/rk_dma_heap`: the Rockchip heap, and those that drivers add.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex. Nodes are made and removed under it; no memory of a heap is allocated or
//! freed.

mod heap;

pub(crate) use heap::{
    DriverHeap,
    RkHeap, //
};

use crate::{
    abstractions::cache_cleaner::Cleaner,
    bindings as c,
    heap::Heap,
    heap_devices::{
        HeapDevices,
        ROCKCHIP, //
    },
    range_cache::RangeCache, //
};
use core::mem;
use kernel::{
    prelude::*,
    sync::Arc, //
};

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The heaps that there are, and their nodes.
    unsafe(uninit) static HEAPS: Mutex<Heaps> =
        Heaps { shared: None, nodes: None, heaps: KVec::new() };
}

/// Initialises the lock.
///
/// # Safety
///
/// Must be called once, before anything else in this file.
pub(crate) unsafe fn init_lock() {
    // SAFETY: Called once and first, as the caller promises.
    unsafe { HEAPS.init() };
}

struct Heaps {
    shared: Option<Shared>,
    nodes: Option<HeapDevices<ROCKCHIP>>,
    heaps: KVec<Registered>,
}

/// What the heaps share.
struct Shared {
    /// The device for DMA mappings of the heaps' memory.
    device: Arc<Cleaner>,
    ranges: Arc<RangeCache>,
}

/// A heap that drivers can find.
struct Registered {
    heap: Arc<RkHeap>,
    minor: u32,
    /// References that drivers hold.
    users: usize,
}

/// The heaps can be found while this lives.
pub(crate) struct Registration(());

impl Registration {
    /// Makes the folder. `device` is the one that drivers get for DMA mappings.
    ///
    /// May sleep. Fails as [`HeapDevices::new`] does.
    pub(crate) fn new(device: Arc<Cleaner>, ranges: Arc<RangeCache>) -> Result<Self> {
        let nodes = HeapDevices::new()?;
        let mut heaps = HEAPS.lock();
        heaps.nodes = Some(nodes);
        heaps.shared = Some(Shared { device, ranges });
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut heaps = HEAPS.lock();
        // A static is not dropped, so it is emptied; the parts are dropped without the lock.
        let parts = (
            heaps.nodes.take(),
            mem::replace(&mut heaps.heaps, KVec::new()),
            heaps.shared.take(),
        );
        drop(heaps);
        drop(parts);
    }
}

/// Registers `heap`, with one reference.
///
/// May sleep. Fails with `EEXIST` where its name is taken, and as [`HeapDevices::add`] does.
pub(crate) fn add(heap: Arc<RkHeap>) -> Result<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    if heaps
        .heaps
        .iter()
        .any(|other| other.heap.account().heap() == heap.account().heap())
    {
        return Err(EEXIST);
    }
    heaps.heaps.reserve(1, GFP_KERNEL)?;
    let minor = heaps.nodes.as_mut().ok_or(ENODEV)?.add(heap.clone())?;
    let raw = heap.as_raw();
    heaps.heaps.push(
        Registered {
            heap,
            minor,
            users: 1,
        },
        GFP_KERNEL,
    )?;
    Ok(raw)
}

/// The heap named `name`, with one more reference. May sleep.
pub(crate) fn find(name: &CStr) -> Option<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    let entry = heaps
        .heaps
        .iter_mut()
        .find(|entry| entry.heap.account().heap() == name)?;
    entry.users = entry.users.checked_add(1)?;
    Some(entry.heap.as_raw())
}

/// Gives a reference to `heap` back; false where there is no such heap. May sleep.
pub(crate) fn put(heap: *mut c::rk_dma_heap) -> bool {
    let mut guard = HEAPS.lock();
    let heaps = &mut *guard;
    let Some(index) = heaps
        .heaps
        .iter()
        .position(|entry| entry.heap.as_raw() == heap)
    else {
        return false;
    };
    let Some(entry) = heaps.heaps.get_mut(index) else {
        return false;
    };
    entry.users = entry.users.saturating_sub(1);
    // The module's own heap stays, whatever drivers do.
    if entry.users == 0 && entry.heap.area().is_none() {
        if let (Ok(entry), Some(nodes)) = (heaps.heaps.remove(index), heaps.nodes.as_mut()) {
            nodes.remove(entry.minor);
        }
    }
    true
}

/// The heap behind a driver's pointer, if there is such a heap. May sleep.
pub(crate) fn heap(heap: *mut c::rk_dma_heap) -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.as_raw() == heap)
        .map(|entry| entry.heap.clone())
}

/// The device for DMA mappings of the heaps' memory. May sleep.
pub(crate) fn device() -> Option<Arc<Cleaner>> {
    let heaps = HEAPS.lock();
    heaps.shared.as_ref().map(|shared| shared.device.clone())
}

/// Registers the heap of a driver, named `name`, with one reference.
///
/// May sleep. Fails with `ENODEV` where the module is being unloaded, and as [`add`] does.
pub(crate) fn add_driver(name: &CStr, heap: DriverHeap) -> Result<*mut c::rk_dma_heap> {
    let heaps = HEAPS.lock();
    let ranges = heaps.shared.as_ref().map(|shared| shared.ranges.clone());
    drop(heaps);
    add(RkHeap::driver(name, heap, ranges.ok_or(ENODEV)?)?)
}

/// All heaps. May sleep. Fails with `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<RkHeap>>> {
    let heaps = HEAPS.lock();
    let mut all = KVec::with_capacity(heaps.heaps.len(), GFP_KERNEL)?;
    for entry in &heaps.heaps {
        all.push(entry.heap.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// The module's own heap. May sleep.
pub(crate) fn own() -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.area().is_some())
        .map(|entry| entry.heap.clone())
}
