// SPDX-License-Identifier: GPL-2.0

//! The heaps of `rk_dma_heap_find()`: the module's own, and those that drivers add.
//!
//! # References
//!
//! Drivers count their references, but a reference keeps neither the module loaded nor a driver's
//! heap usable: many drivers never drop theirs. A heap is removed when the driver that has added it
//! drops the reference of that, or is unloaded. While others still refer to it, it stays in the
//! list for their pointers, and its operations fail.
//!
//! # Locks
//!
//! [`NODES`] is a mutex. Heaps are added and removed under it, with their device nodes. [`HEAPS`]
//! is a spin lock, held with interrupts disabled, because drivers look heaps up under locks of
//! their own. It is acquired under the former. Nothing is allocated or dropped under it, and the
//! list has [`MAX_HEAPS`] entries at most. Buffers are allocated and freed with neither held.

mod driver_heap;
mod heap;
mod references;

pub(crate) use driver_heap::DriverHeap;
pub(crate) use heap::{
    RkHeap,
    Role, //
};
pub(crate) use references::{
    find,
    lookup,
    own_heap,
    put,
    with, //
};

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        global_lock::global_lock,
        irq_spin_lock::IrqSpinLockBackend,
        kernel_module::{
            ModuleFinder,
            UnloadObserver,
            UnloadingModule,
            Unloads, //
        },
        sysfs::Number, //
    },
    bindings as c,
    heap_devices::{
        HeapDevices,
        RK_DMA_HEAP, //
    },
    mapped_ranges::TrialMappings,
    page_pool::PoolSet, //
};
use core::{
    mem,
    ptr, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The largest number of heaps, including removed ones to which drivers still refer.
const MAX_HEAPS: usize = 256;

kernel::sync::global_lock! {
    // SAFETY: `init_locks()` initialises the lock, and the module calls it before anything else.
    /// What is needed to add and remove heaps.
    unsafe(uninit) static NODES: Mutex<Nodes> = Nodes { trials: None, nodes: None, modules: None };
}

global_lock! {
    // SAFETY: `init_locks()` initialises the lock, and the module calls it before anything else.
    /// The heaps.
    unsafe(uninit) static HEAPS: Lock<KVec<Registered>, IrqSpinLockBackend> = KVec::new();
}

/// Initialises [`NODES`] and [`HEAPS`].
///
/// # Safety
///
/// Must be called once, before any other function of this file.
pub(crate) unsafe fn init_locks() {
    // SAFETY: The caller promises that this is the first and only call.
    unsafe {
        NODES.init();
        HEAPS.init();
    }
}

/// What is needed to add and remove heaps.
struct Nodes {
    /// For `/proc/rk_dmabuf/sgt`.
    trials: Option<Arc<TrialMappings>>,
    nodes: Option<HeapDevices<RK_DMA_HEAP>>,
    modules: Option<ModuleFinder>,
}

/// A heap in the list.
struct Registered {
    heap: Arc<RkHeap>,
    /// The minor number of the device node, if the heap has one.
    minor: Option<u32>,
    state: State,
    /// The number of references of drivers that have found the heap.
    references: usize,
}

/// How far a heap is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Drivers find the heap.
    Listed,
    /// Drivers do not find the heap any more. Its operations, which may still run, look it up by
    /// their pointer.
    Closing,
    /// No operation runs. The entry stays for drivers that have found the heap.
    Closed,
}

impl Registered {
    fn is_listed(&self) -> bool {
        self.state == State::Listed
    }
}

/// Removes all heaps and their device nodes when it is dropped.
#[must_use = "dropping this removes the heaps"]
pub(crate) struct Registration {
    _unloads: Unloads<RemoveHeaps>,
}

impl Registration {
    /// Creates `/dev/rk_dma_heap`. [`trial_mappings`] are those for `device`.
    ///
    /// May sleep. Fails with `ENOMEM`, and as [`HeapDevices::new`] does.
    pub(crate) fn new(device: Arc<Cleaner>) -> Result<Self> {
        let nodes = HeapDevices::new()?;
        let trials = Arc::new(TrialMappings::new(device), GFP_KERNEL)?;
        let unloads = Unloads::register()?;
        let mut state = NODES.lock();
        state.nodes = Some(nodes);
        state.trials = Some(trials);
        state.modules = ModuleFinder::new();
        Ok(Self { _unloads: unloads })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = NODES.lock();
        // A static is not dropped, so its contents are moved out and dropped without the lock.
        let contents = (state.nodes.take(), state.trials.take());
        drop(state);
        let heaps = mem::replace(&mut *HEAPS.lock(), KVec::new());
        for entry in &heaps {
            if let Some(driver) = entry.heap.driver() {
                driver.close();
            }
        }
        drop(contents);
        drop(heaps);
    }
}

/// Removes the heaps of modules that are unloaded.
struct RemoveHeaps;

impl UnloadObserver for RemoveHeaps {
    fn unloading(module: &UnloadingModule) {
        while remove(|heap| {
            heap.driver()
                .is_some_and(|driver| driver.is_part_of(module))
        }) {}
    }
}

/// Adds `heap`, with a device node if `has_node`.
///
/// May sleep. Fails with `EINVAL` if another heap has its name, with `ENOSPC` if there are too many
/// heaps, and as [`HeapDevices::add`] does.
pub(crate) fn add(heap: Arc<RkHeap>, has_node: bool) -> Result {
    drop_unused();
    let mut state = NODES.lock();
    let (count, taken) = {
        let heaps = HEAPS.lock();
        let taken = heaps
            .iter()
            .any(|entry| entry.is_listed() && entry.heap.name() == heap.name());
        (heaps.len(), taken)
    };
    if taken {
        return Err(EINVAL);
    }
    if count >= MAX_HEAPS {
        return Err(ENOSPC);
    }
    // Only this function adds, under the mutex.
    let mut larger = KVec::with_capacity(count + 1, GFP_KERNEL)?;
    let new = Registered {
        heap: heap.clone(),
        minor: None,
        state: State::Listed,
        references: 0,
    };
    let mut heaps = HEAPS.lock();
    let mut smaller = mem::replace(&mut *heaps, KVec::new());
    // The capacity suffices, so nothing is dropped here.
    for entry in Iterator::chain(smaller.drain_all(), [new]) {
        let _ = larger.push_within_capacity(entry);
    }
    *heaps = larger;
    drop(heaps);
    drop(smaller);
    if !has_node {
        return Ok(());
    }
    // Operations are called as soon as the node exists, and look the heap up.
    let nodes = state.nodes.as_mut().ok_or(ENODEV);
    match nodes.and_then(|nodes| nodes.add(heap.clone())) {
        Ok(minor) => {
            with_entry(&heap, |entry| entry.minor = Some(minor));
            Ok(())
        }
        Err(error) => {
            drop(state);
            remove(|other| ptr::eq(other, &*heap));
            Err(error)
        }
    }
}

/// Calls `f` for the entry of `heap`, if it has one. `f` must not sleep. Does not sleep.
fn with_entry(heap: &Arc<RkHeap>, f: impl FnOnce(&mut Registered)) {
    let mut heaps = HEAPS.lock();
    if let Some(entry) = heaps
        .iter_mut()
        .find(|entry| Arc::ptr_eq(&entry.heap, heap))
    {
        f(entry);
    }
}

/// Removes the first heap for which `is_it` is true, and waits for its operations. Returns false if
/// there is none.
///
/// May sleep. `is_it` must not sleep.
fn remove(is_it: impl Fn(&RkHeap) -> bool) -> bool {
    let mut state = NODES.lock();
    let removed = {
        let mut heaps = HEAPS.lock();
        heaps
            .iter_mut()
            .find(|entry| entry.is_listed() && is_it(&entry.heap))
            .map(|entry| {
                entry.state = State::Closing;
                (entry.heap.clone(), entry.minor.take())
            })
    };
    let Some((heap, minor)) = removed else {
        return false;
    };
    if let (Some(nodes), Some(minor)) = (state.nodes.as_mut(), minor) {
        nodes.remove(minor);
    }
    drop(state);
    if let Some(driver) = heap.driver() {
        driver.close();
    }
    with_entry(&heap, |entry| entry.state = State::Closed);
    drop_unused();
    true
}

/// Drops the closed heaps to which no driver refers. May sleep.
fn drop_unused() {
    loop {
        let entry = {
            let mut heaps = HEAPS.lock();
            let unused = heaps
                .iter()
                .position(|entry| entry.state == State::Closed && entry.references == 0);
            unused.and_then(|index| heaps.remove(index).ok())
        };
        if entry.is_none() {
            return;
        }
    }
}

/// Returns the mappings for the device that reaches all memory. May sleep.
pub(crate) fn trial_mappings() -> Option<Arc<TrialMappings>> {
    NODES.lock().trials.clone()
}

/// Adds a driver's heap, named and described by `info`, and returns the pointer by which the driver
/// knows it.
///
/// May sleep. Fails with `EINVAL` if `info` lacks something, with `ENODEV` if the module is being
/// unloaded, and as [`add`] does.
///
/// # Safety
///
/// As for [`DriverHeap::new`], until the pointer is put.
pub(crate) unsafe fn add_driver(
    name: &CStr,
    info: &c::rk_dma_heap_export_info,
) -> Result<*mut c::rk_dma_heap> {
    let modules = NODES.lock().modules;
    // SAFETY: The caller promises that the operations are valid until the pointer is put.
    // `RemoveHeaps` closes the heap when their module is unloaded.
    let heap = RkHeap::new_driver(name, unsafe { DriverHeap::new(info, modules) }?)?;
    let handle = heap.handle(Role::Adder);
    add(heap, true)?;
    Ok(handle)
}

/// Returns all heaps that have not been removed. May sleep. Fails with `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<RkHeap>>> {
    // Heaps are added under this lock only.
    let state = NODES.lock();
    let count = HEAPS.lock().len();
    let mut all = KVec::with_capacity(count, GFP_KERNEL)?;
    for entry in HEAPS.lock().iter().filter(|entry| entry.is_listed()) {
        all.push_within_capacity(entry.heap.clone())
            .map_err(|_| ENOMEM)?;
    }
    drop(state);
    Ok(all)
}

/// The size of the module's pools and of those of the heaps that drivers have added, in KiB.
pub(crate) struct PoolSizes(pub(crate) Arc<PoolSet>);

#[vtable]
impl Number for PoolSizes {
    fn number(&self) -> usize {
        let drivers = heaps().map_or(0, |heaps| {
            heaps
                .iter()
                .fold(0, |sum: usize, heap| sum.saturating_add(heap.pool_size()))
        });
        self.0.number().saturating_add(drivers / 1024)
    }
}
