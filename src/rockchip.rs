// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/rk_dma_heap`: the Rockchip heap, and those that drivers add.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex. Nodes are made and removed under it; no memory of a heap is allocated or freed.

mod heap;

pub(crate) use heap::{DriverHeap, RkHeap};

use crate::{
    bindings as c,
    cache_cleaner::Cleaner,
    heap::Heap,
    own_nodes::{OwnNodes, ROCKCHIP},
};
use core::mem;
use kernel::{prelude::*, sync::Arc};

kernel::sync::global_lock! {
    // SAFETY: `prepare()` initialises the lock, and the module calls it before anything else.
    /// The heaps that there are, and their nodes.
    unsafe(uninit) static HEAPS: Mutex<Heaps> =
        Heaps { device: None, nodes: None, heaps: KVec::new() };
}

/// Prepares for heaps.
///
/// # Safety
///
/// Must be called once, before anything else in this module.
pub(crate) unsafe fn prepare() {
    // SAFETY: Called once and first, as the caller promises.
    unsafe { HEAPS.init() };
}

struct Heaps {
    /// The device for DMA mappings of the heaps' memory.
    device: Option<Arc<Cleaner>>,
    nodes: Option<OwnNodes<ROCKCHIP>>,
    heaps: KVec<Registered>,
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
    /// May sleep. Fails as [`OwnNodes::new`] does.
    pub(crate) fn new(device: Arc<Cleaner>) -> Result<Self> {
        let nodes = OwnNodes::new()?;
        let mut heaps = HEAPS.lock();
        heaps.nodes = Some(nodes);
        heaps.device = Some(device);
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
            heaps.device.take(),
        );
        drop(heaps);
        drop(parts);
    }
}

/// Registers `heap`, with one reference.
///
/// May sleep. Fails with `EEXIST` where its name is taken, and as [`OwnNodes::add`] does.
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
    HEAPS.lock().device.clone()
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
