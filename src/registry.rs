// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/dma_heap`.
//!
//! If the kernel has its own dma-heap core (`CONFIG_DMABUF_HEAPS`), heaps are added to that.
//! Otherwise the module creates the device nodes itself, with the same ABI.
//!
//! # Locks
//!
//! [`HEAPS`] is a spin lock over the list of heaps, held with interrupts disabled: drivers look
//! heaps up under locks of their own. Nothing else is locked under it, and nothing is allocated or
//! dropped.

#[cfg_attr(CONFIG_DMABUF_HEAPS, path = "registry/dma_heap_core.rs")]
#[cfg_attr(not(CONFIG_DMABUF_HEAPS), path = "registry/standalone.rs")]
mod nodes;

use crate::{
    abstractions::{
        global_lock::global_lock,
        irq_spin_lock::IrqSpinLockBackend, //
    },
    bindings as c,
    heap::Heap, //
};
use core::mem;
use kernel::{
    prelude::*,
    sync::Arc, //
};

global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The registered heaps, in the order in which they were added.
    unsafe(uninit) static HEAPS: Lock<KVec<Registered>, IrqSpinLockBackend> = KVec::new();
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

/// A registered heap.
struct Registered {
    heap: Arc<dyn Heap>,
    handle: Handle,
    /// The number of references that drivers hold.
    references: usize,
}

/// The pointer by which drivers know a heap. The module only compares it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) *mut c::dma_heap);

// SAFETY: The pointer is not dereferenced.
unsafe impl Send for Handle {}

/// Removes all heaps from the list, and from the module's own nodes, when it is dropped.
#[must_use = "dropping this removes the heaps"]
pub(crate) struct Registry {
    nodes: nodes::Nodes,
}

impl Registry {
    /// Creates a registry with capacity for `count` heaps.
    ///
    /// May sleep. Fails with `ENOMEM`, or as the registration of a class or of device numbers does.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let nodes = nodes::Nodes::new()?;
        let empty = KVec::with_capacity(count, GFP_KERNEL)?;
        *HEAPS.lock() = empty;
        Ok(Self { nodes })
    }

    /// Creates the device node of `heap`.
    ///
    /// On failure, for example if the name is taken, logs the reason and drops the heap: programs
    /// may have opened other heaps already, so loading the module must not fail any more. May
    /// sleep.
    pub(crate) fn add(&mut self, heap: Arc<dyn Heap>) {
        let name = heap.account().heap_name();
        let is_taken = HEAPS
            .lock()
            .iter()
            .any(|entry| entry.heap.account().heap_name() == name);
        let added = match is_taken {
            // The driver core prints a warning with a backtrace for a name that is taken.
            true => Err(EEXIST),
            false => self.nodes.add(&heap),
        };
        let added = added.and_then(|handle| {
            let entry = Registered {
                heap: heap.clone(),
                handle,
                references: 0,
            };
            HEAPS.lock().push_within_capacity(entry).map_err(|_| ENOMEM)
        });
        match added {
            Ok(()) => {}
            Err(error) if error == EEXIST => {
                pr_warn!(
                    "heap {}: left out, a heap of that name already exists\n",
                    name
                )
            }
            Err(error) => pr_err!(
                "heap {}: left out, its device node cannot be created: {:?}\n",
                name,
                error
            ),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A static is not dropped, so its content is moved out and dropped without the lock.
        let heaps = mem::replace(&mut *HEAPS.lock(), KVec::new());
        drop(heaps);
    }
}

/// Returns the registered heaps, in the order in which they were added. May sleep. Fails with
/// `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<dyn Heap>>> {
    // The list has its capacity from the beginning.
    let capacity = HEAPS.lock().capacity();
    let mut heaps = KVec::with_capacity(capacity, GFP_KERNEL)?;
    for entry in HEAPS.lock().iter() {
        heaps
            .push_within_capacity(entry.heap.clone())
            .map_err(|_| ENOMEM)?;
    }
    Ok(heaps)
}

/// Looks up the heap named `name` and counts a reference to it. Does not sleep.
pub(crate) fn find(name: &CStr) -> Option<Handle> {
    let mut heaps = HEAPS.lock();
    let entry = heaps
        .iter_mut()
        .find(|entry| entry.heap.account().heap_name() == name)?;
    entry.references = entry.references.saturating_add(1);
    Some(entry.handle)
}

/// Uncounts a reference to the heap with `handle`. Returns false, and changes nothing, if there is
/// none. Does not sleep.
pub(crate) fn put(handle: Handle) -> bool {
    let mut heaps = HEAPS.lock();
    let Some(entry) = heaps
        .iter_mut()
        .find(|entry| entry.handle == handle && entry.references > 0)
    else {
        return false;
    };
    entry.references -= 1;
    true
}

/// Looks up the heap with `handle`. Does not sleep.
pub(crate) fn lookup(handle: Handle) -> Option<Arc<dyn Heap>> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.handle == handle)
        .map(|entry| entry.heap.clone())
}
