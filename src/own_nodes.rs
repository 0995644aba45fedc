// SPDX-License-Identifier: GPL-2.0

//! Heap nodes of the module's own, for a kernel without `CONFIG_DMABUF_HEAPS`.
//!
//! Class, folder, mode, ioctl and errors are those of the kernel's dma-heap core.

use crate::{
    allocate_ioctl,
    char_device::{CharDevice, Class, Range},
    heap::Heap,
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow},
};

/// The name of the class, of the folder in `/dev`, and in `/proc/devices`.
const NAME: &CStr = c"dma_heap";

/// How many heaps there can be: as many as in the kernel's core.
const MINORS: u32 = 128;

kernel::sync::global_lock! {
    // SAFETY: `Nodes::new()` initialises the lock before it makes the device numbers through which it is reached; the
    // module makes its nodes once.
    /// The heap behind each minor.
    unsafe(uninit) static HEAPS: Mutex<KVec<Arc<OpenHeap>>> = KVec::new();
}

/// A heap, as an open file holds it.
struct OpenHeap(Arc<dyn Heap>);

/// The devices under `/dev/dma_heap`.
struct HeapDevice;

impl CharDevice for HeapDevice {
    type File = Arc<OpenHeap>;

    fn open(minor: u32) -> Result<Arc<OpenHeap>> {
        HEAPS.lock().get(minor as usize).cloned().ok_or(ENXIO)
    }

    fn ioctl(heap: ArcBorrow<'_, OpenHeap>, command: u32, argument: usize) -> Result<isize> {
        allocate_ioctl::serve(&*heap.0, command, argument)
    }
}

/// The nodes, and what they rest on. The fields are dropped in this order.
pub(crate) struct Nodes {
    class: Class,
    range: Range<HeapDevice>,
}

impl Nodes {
    /// Prepares for nodes; there are none yet.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, when the module is loaded, before anything below makes the lock reachable.
        unsafe { HEAPS.init() };
        let range = Range::new(NAME, MINORS)?;
        Ok(Self {
            class: Class::new(NAME)?,
            range,
        })
    }

    /// Makes the node of `heap`. Fails with `ENOSPC` where all minors are in use.
    pub(crate) fn add(&mut self, heap: &Arc<dyn Heap>) -> Result {
        let mut heaps = HEAPS.lock();
        let minor = heaps.len() as u32;
        if minor >= MINORS {
            return Err(ENOSPC);
        }
        heaps.push(Arc::new(OpenHeap(heap.clone()), GFP_KERNEL)?, GFP_KERNEL)?;
        drop(heaps);

        // A node can be opened as soon as it is there, so the heap is entered first, and taken out again if there is none.
        self.class
            .add(&self.range, minor, heap.account().heap())
            .inspect_err(|_| {
                HEAPS.lock().pop();
            })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // No file is open any more: an open one keeps the module. A static is not dropped, so it is emptied.
        *HEAPS.lock() = KVec::new();
    }
}
