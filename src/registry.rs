// SPDX-License-Identifier: GPL-2.0

//! The heaps under `/dev/dma_heap`, by name, and the nodes through which programs reach them.
//!
//! There are two ways to put a heap there, and the kernel's configuration decides between them when the module is built:
//! where the kernel has a registry of its own, heaps are added to that one; where it has none, the module brings one that
//! programs cannot tell from it.

#[cfg_attr(CONFIG_DMABUF_HEAPS, path = "core_nodes.rs")]
#[cfg_attr(not(CONFIG_DMABUF_HEAPS), path = "standard_nodes.rs")]
mod nodes;

use crate::{bindings as c, heap::Heap};
use kernel::{prelude::*, sync::Arc};

kernel::sync::global_lock! {
    // SAFETY: `prepare()` initialises the lock, and the module calls it before anything else.
    /// The registered heaps, for drivers.
    unsafe(uninit) static HEAPS: Mutex<KVec<Registered>> = KVec::new();
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
    _nodes: nodes::Nodes,
}

impl Registry {
    /// Makes a node for each of `heaps`, and leaves those there that have one.
    ///
    /// A heap whose node cannot be made, because its name is taken for example, is left out with a line in the log.
    /// May sleep. Fails with `ENOMEM`, or as the registration of a class or of device numbers does.
    pub(crate) fn new(heaps: &mut KVec<Arc<dyn Heap>>) -> Result<Self> {
        let mut nodes = nodes::Nodes::new()?;
        HEAPS.lock().reserve(heaps.len(), GFP_KERNEL)?;
        heaps.retain(|heap| {
            let name = heap.account().heap();
            let error = match nodes.add(heap) {
                Ok(handle) => {
                    return HEAPS.lock().push_within_capacity(Registered { heap: heap.clone(), handle }).is_ok();
                }
                Err(error) => error,
            };
            if error == EEXIST {
                pr_warn!("heap {}: left out, there is a heap of that name already\n", name);
            } else {
                pr_err!("heap {}: left out, its node cannot be made: {:?}\n", name, error);
            }
            false
        });
        Ok(Self { _nodes: nodes })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A static is not dropped, so it is emptied.
        *HEAPS.lock() = KVec::new();
    }
}

/// The handle of the heap named `name`. May sleep.
pub(crate) fn find(name: &CStr) -> Option<Handle> {
    HEAPS.lock().iter().find(|entry| entry.heap.account().heap() == name).map(|entry| entry.handle)
}

/// The heap behind `handle`. May sleep.
pub(crate) fn heap(handle: Handle) -> Option<Arc<dyn Heap>> {
    HEAPS.lock().iter().find(|entry| entry.handle == handle).map(|entry| entry.heap.clone())
}
