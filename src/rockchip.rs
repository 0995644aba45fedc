// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/rk_dma_heap`: the Rockchip heap, and those that drivers add.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex. Device nodes are created and removed under it; buffers are not allocated
//! or freed under it.

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
        RK_DMA_HEAP, //
    }, //
};
use core::mem;
use kernel::{
    prelude::*,
    sync::Arc, //
};

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The registered heaps and their device nodes.
    unsafe(uninit) static HEAPS: Mutex<Heaps> =
        Heaps { device: None, nodes: None, heaps: KVec::new() };
}

/// Initialises [`HEAPS`].
///
/// # Safety
///
/// Must be called once, before any other function of this file.
pub(crate) unsafe fn init_lock() {
    // SAFETY: The caller promises that this is the first and only call.
    unsafe { HEAPS.init() };
}

struct Heaps {
    /// The device for DMA mappings of the heaps' memory.
    device: Option<Arc<Cleaner>>,
    nodes: Option<HeapDevices<RK_DMA_HEAP>>,
    heaps: KVec<Registered>,
}

/// A registered heap.
struct Registered {
    heap: Arc<RkHeap>,
    minor: u32,
    /// The number of references: those of drivers, and one of the heap's creator.
    references: usize,
}

/// Removes all heaps and their device nodes when it is dropped.
#[must_use = "dropping this removes the heaps"]
pub(crate) struct Registration(());

impl Registration {
    /// Creates `/dev/rk_dma_heap`. Drivers get `device` for DMA mappings.
    ///
    /// May sleep. Fails as [`HeapDevices::new`] does.
    pub(crate) fn new(device: Arc<Cleaner>) -> Result<Self> {
        let nodes = HeapDevices::new()?;
        let mut heaps = HEAPS.lock();
        heaps.nodes = Some(nodes);
        heaps.device = Some(device);
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut heaps = HEAPS.lock();
        // A static is not dropped, so its contents are moved out and dropped without the lock.
        let contents = (
            heaps.nodes.take(),
            mem::replace(&mut heaps.heaps, KVec::new()),
            heaps.device.take(),
        );
        drop(heaps);
        drop(contents);
    }
}

/// Registers `heap`, with one reference.
///
/// May sleep. Fails with `EEXIST` if another heap has its name, and as [`HeapDevices::add`] does.
pub(crate) fn add(heap: Arc<RkHeap>) -> Result<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    if heaps
        .heaps
        .iter()
        .any(|other| other.heap.account().heap_name() == heap.account().heap_name())
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
            references: 1,
        },
        GFP_KERNEL,
    )?;
    Ok(raw)
}

/// Looks up the heap named `name` and takes a reference to it. May sleep.
pub(crate) fn find(name: &CStr) -> Option<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    let entry = heaps
        .heaps
        .iter_mut()
        .find(|entry| entry.heap.account().heap_name() == name)?;
    entry.references = entry.references.checked_add(1)?;
    Some(entry.heap.as_raw())
}

/// Drops a reference to `heap`. Returns false if there is no such heap. May sleep.
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
    entry.references = entry.references.saturating_sub(1);
    // The module's own heap stays registered even if drivers put too often.
    if entry.references == 0 && entry.heap.area().is_none() {
        if let (Ok(entry), Some(nodes)) = (heaps.heaps.remove(index), heaps.nodes.as_mut()) {
            nodes.remove(entry.minor);
        }
    }
    true
}

/// Looks up the heap behind a driver's pointer. May sleep.
pub(crate) fn lookup(heap: *mut c::rk_dma_heap) -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.as_raw() == heap)
        .map(|entry| entry.heap.clone())
}

/// Returns the device for DMA mappings of the heaps' memory. May sleep.
pub(crate) fn device() -> Option<Arc<Cleaner>> {
    HEAPS.lock().device.clone()
}

/// Registers a driver's heap named `name`, with one reference.
///
/// May sleep. Fails with `ENODEV` if the module is being unloaded, and as [`add`] does.
pub(crate) fn add_driver(name: &CStr, heap: DriverHeap) -> Result<*mut c::rk_dma_heap> {
    add(RkHeap::new_driver(name, heap)?)
}

/// Returns all heaps. May sleep. Fails with `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<RkHeap>>> {
    let heaps = HEAPS.lock();
    let mut all = KVec::with_capacity(heaps.heaps.len(), GFP_KERNEL)?;
    for entry in &heaps.heaps {
        all.push(entry.heap.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// Returns the module's own heap. May sleep.
pub(crate) fn own_heap() -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.area().is_some())
        .map(|entry| entry.heap.clone())
}
