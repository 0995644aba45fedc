// SPDX-License-Identifier: GPL-2.0

//! The nodes of `/dev/dma_heap` on a kernel without `CONFIG_DMABUF_HEAPS`: the module's own.

use super::Handle;
use crate::{
    heap::Heap,
    heap_devices::{
        HeapDevices,
        DMA_HEAP, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The nodes.
pub(crate) struct Nodes(HeapDevices<DMA_HEAP>);

impl Nodes {
    /// Creates `/dev/dma_heap`. May sleep. Fails as [`HeapDevices::new`] does.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(HeapDevices::new()?))
    }

    /// Creates the node of `heap`. Its handle is the address of its account, which lives as long as
    /// the heap.
    ///
    /// May sleep. Fails as [`HeapDevices::add`] does.
    pub(crate) fn add(&mut self, heap: &Arc<dyn Heap>) -> Result<Handle> {
        self.0.add(heap.clone())?;
        Ok(Handle(Arc::as_ptr(heap.account()).cast_mut().cast()))
    }
}
