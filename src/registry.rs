// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/dma_heap`.
//!
//! If the kernel has its own dma-heap core (`CONFIG_DMABUF_HEAPS`), heaps are added to that.
//! Otherwise the module creates the device nodes itself, with the same ABI.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex over the list of heaps. Nothing else is locked under it.

#[cfg_attr(CONFIG_DMABUF_HEAPS, path = "registry/dma_heap_core.rs")]
#[cfg_attr(not(CONFIG_DMABUF_HEAPS), path = "registry/standalone.rs")]
mod nodes;

use crate::{
    bindings as c,
    heap::Heap, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The registered heaps, in the order in which they were added.
    unsafe(uninit) static HEAPS: Mutex<KVec<Registered>> = KVec::new();
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
        HEAPS.lock().reserve(count, GFP_KERNEL)?;
        Ok(Self { nodes })
    }

    /// Creates the device node of `heap`.
    ///
    /// On failure, for example if the name is taken, logs the reason and drops the heap: programs
    /// may have opened other heaps already, so loading the module must not fail any more. May
    /// sleep.
    pub(crate) fn add(&mut self, heap: Arc<dyn Heap>) {
        let name = heap.account().heap_name();
        let added = match find(name) {
            // The driver core prints a warning with a backtrace for a name that is taken.
            Some(_) => Err(EEXIST),
            None => self.nodes.add(&heap),
        };
        let added = added.and_then(|handle| {
            let entry = Registered {
                heap: heap.clone(),
                handle,
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
        // A static is not dropped, so it is cleared.
        *HEAPS.lock() = KVec::new();
    }
}

/// Returns the registered heaps, in the order in which they were added. May sleep. Fails with
/// `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<dyn Heap>>> {
    let registered = HEAPS.lock();
    let mut heaps = KVec::with_capacity(registered.len(), GFP_KERNEL)?;
    for entry in registered.iter() {
        heaps.push(entry.heap.clone(), GFP_KERNEL)?;
    }
    Ok(heaps)
}

/// Returns the handle of the heap named `name`. May sleep.
pub(crate) fn find(name: &CStr) -> Option<Handle> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.heap.account().heap_name() == name)
        .map(|entry| entry.handle)
}

/// Looks up the heap with `handle`. May sleep.
pub(crate) fn lookup(handle: Handle) -> Option<Arc<dyn Heap>> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.handle == handle)
        .map(|entry| entry.heap.clone())
}
