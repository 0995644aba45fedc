// SPDX-License-Identifier: GPL-2.0

//! The heaps under `/dev/dma_heap`, by name, and the nodes through which programs reach them.
//!
//! There are two ways to put a heap there, and the kernel's configuration decides between them when
//! the module is built: where the kernel has a registry of its own, heaps are added to that one;
//! where it has none, the module brings one that programs cannot tell from it.

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
    /// The registered heaps, for drivers.
    unsafe(uninit) static HEAPS: Mutex<KVec<Registered>> = KVec::new();
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

/// A registered heap.
struct Registered {
    heap: Arc<dyn Heap>,
    handle: Handle,
}

/// What drivers know a heap by. It is never followed here, only compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) *mut c::dma_heap);

// SAFETY: The pointer is only compared.
unsafe impl Send for Handle {}

/// The heaps are registered while this lives.
pub(crate) struct Registry {
    nodes: nodes::Nodes,
}

impl Registry {
    /// Prepares for `count` heaps.
    ///
    /// May sleep. Fails with `ENOMEM`, or as the registration of a class or of device numbers does.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let nodes = nodes::Nodes::new()?;
        HEAPS.lock().reserve(count, GFP_KERNEL)?;
        Ok(Self { nodes })
    }

    /// Makes a node for `heap`.
    ///
    /// Where that cannot be done, because its name is taken for example, the heap is left out with
    /// a line in the log: programs may have opened other heaps already, so that loading the module
    /// must not fail any more. May sleep.
    pub(crate) fn add(&mut self, heap: Arc<dyn Heap>) {
        let name = heap.account().heap();
        let added = self.nodes.add(&heap).and_then(|handle| {
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
                    "heap {}: left out, there is a heap of that name already\n",
                    name
                )
            }
            Err(error) => pr_err!(
                "heap {}: left out, its node cannot be made: {:?}\n",
                name,
                error
            ),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A static is not dropped, so it is emptied.
        *HEAPS.lock() = KVec::new();
    }
}

/// The registered heaps, in the order in which they were added. May sleep. Fails with `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<dyn Heap>>> {
    let registered = HEAPS.lock();
    let mut heaps = KVec::with_capacity(registered.len(), GFP_KERNEL)?;
    for entry in registered.iter() {
        heaps.push(entry.heap.clone(), GFP_KERNEL)?;
    }
    Ok(heaps)
}

/// The handle of the heap named `name`. May sleep.
pub(crate) fn find(name: &CStr) -> Option<Handle> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.heap.account().heap() == name)
        .map(|entry| entry.handle)
}

/// The heap behind `handle`. May sleep.
pub(crate) fn heap(handle: Handle) -> Option<Arc<dyn Heap>> {
    HEAPS
        .lock()
        .iter()
        .find(|entry| entry.handle == handle)
        .map(|entry| entry.heap.clone())
}
