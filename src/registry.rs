// SPDX-License-Identifier: GPL-2.0

//! The heaps of the module, by name, and the nodes through which programs reach them.
//!
//! There are two ways to put a heap under `/dev/dma_heap`, and the kernel's configuration decides between them when the
//! module is built: where the kernel has a registry of its own, heaps are added to that one; where it has none, the module
//! brings one that programs cannot tell from it.

#[cfg_attr(CONFIG_DMABUF_HEAPS, path = "core_nodes.rs")]
#[cfg_attr(not(CONFIG_DMABUF_HEAPS), path = "own_nodes.rs")]
mod nodes;

use crate::heap::Heap;
use kernel::{prelude::*, sync::Arc};

/// The registered heaps.
pub(crate) struct Registry {
    heaps: KVec<Arc<dyn Heap>>,
    _nodes: nodes::Nodes,
}

impl Registry {
    /// Makes a node for each heap.
    ///
    /// A heap whose node cannot be made, because its name is taken for example, is left out with a line in the log.
    /// May sleep. Fails with `ENOMEM`, or as the registration of a class or of device numbers does.
    pub(crate) fn new(heaps: KVec<Arc<dyn Heap>>) -> Result<Self> {
        let mut nodes = nodes::Nodes::new()?;
        let mut registered = KVec::with_capacity(heaps.len(), GFP_KERNEL)?;
        for heap in heaps {
            let name = heap.account().heap();
            match nodes.add(&heap) {
                Ok(()) => registered.push(heap, GFP_KERNEL)?,
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
        Ok(Self {
            heaps: registered,
            _nodes: nodes,
        })
    }

    /// The heaps, in the order in which they were registered. Fails with `ENOMEM`.
    pub(crate) fn heaps(&self) -> Result<KVec<Arc<dyn Heap>>> {
        let mut heaps = KVec::with_capacity(self.heaps.len(), GFP_KERNEL)?;
        for heap in &self.heaps {
            heaps.push(heap.clone(), GFP_KERNEL)?;
        }
        Ok(heaps)
    }
}
