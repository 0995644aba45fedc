// SPDX-License-Identifier: GPL-2.0

//! The module's own device nodes: those of `/dev/dma_heap` on a kernel without
//! `CONFIG_DMABUF_HEAPS`, and those of `/dev/rk_dma_heap` on every kernel.
//!
//! Class, directory, mode, ioctl and errors are those of the kernel's dma-heap core. The core
//! ignores the type of an ioctl, so the vendor's command of the same number works as well.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex over the minors. Nothing else is locked under it. Heaps are dropped with it
//! not held, except when the module is unloaded.

use crate::{
    abstractions::char_device::{
        CharDevice,
        ChrdevRegion,
        Class, //
    },
    allocate_ioctl,
    decisions::request::Request,
    heap::Heap, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// The largest number of heaps per directory, as in the kernel's core.
const MINORS: u32 = 128;

/// The directory `/dev/dma_heap`.
#[cfg(not(CONFIG_DMABUF_HEAPS))]
pub(crate) const DMA_HEAP: usize = 0;

/// The directory `/dev/rk_dma_heap`.
pub(crate) const RK_DMA_HEAP: usize = 1;

/// The names of the directories, of their classes, and in `/proc/devices`.
const NAMES: [&CStr; 2] = [c"dma_heap", c"rk_dma_heap"];

/// The heaps of one directory, by minor.
type Minors = KVec<Option<Arc<OpenHeap>>>;

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The heaps of each directory, by minor.
    unsafe(uninit) static HEAPS: Mutex<[Minors; NAMES.len()]> = [KVec::new(), KVec::new()];
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

/// The heap of an open file.
pub(crate) struct OpenHeap(Arc<dyn Heap>);

/// The character devices of a directory.
struct HeapDevice<const DIRECTORY: usize>;

#[vtable]
impl<const DIRECTORY: usize> CharDevice for HeapDevice<DIRECTORY> {
    type File = Arc<OpenHeap>;

    fn open(minor: u32) -> Result<Arc<OpenHeap>> {
        let heaps = HEAPS.lock();
        heaps
            .get(DIRECTORY)
            .and_then(|minors| minors.get(minor as usize))
            .cloned()
            .flatten()
            .ok_or(ENXIO)
    }

    fn ioctl(heap: ArcBorrow<'_, OpenHeap>, command: u32, argument: usize) -> Result<isize> {
        let check = match DIRECTORY {
            RK_DMA_HEAP => Request::new_rockchip,
            _ => Request::new,
        };
        allocate_ioctl::handle(&*heap.0, check, command, argument)
    }
}

/// The device nodes of a directory, with their class and device numbers. The fields are dropped in
/// this order.
#[must_use = "dropping this removes the nodes"]
pub(crate) struct HeapDevices<const DIRECTORY: usize> {
    class: Class,
    region: ChrdevRegion<HeapDevice<DIRECTORY>>,
}

impl<const DIRECTORY: usize> HeapDevices<DIRECTORY> {
    /// Registers the class and the device numbers. May sleep. Fails as [`ChrdevRegion::new`] and
    /// [`Class::new`] do.
    pub(crate) fn new() -> Result<Self> {
        let name = *NAMES.get(DIRECTORY).ok_or(EINVAL)?;
        let region = ChrdevRegion::new(name, MINORS)?;
        Ok(Self {
            class: Class::new(name)?,
            region,
        })
    }

    /// Creates the node of `heap` and returns its minor number. May sleep. Fails with `ENOSPC` if
    /// all minors are in use, and as [`Class::create_device`] does.
    pub(crate) fn add(&mut self, heap: Arc<dyn Heap>) -> Result<u32> {
        let open = Arc::new(OpenHeap(heap.clone()), GFP_KERNEL)?;
        // A node can be opened as soon as it exists, so the heap is inserted before that.
        let minor = alloc_minor(DIRECTORY, open)?;
        match self
            .class
            .create_device(&self.region, minor, heap.account().heap_name())
        {
            Ok(()) => Ok(minor),
            Err(error) => {
                free_minor(DIRECTORY, minor);
                Err(error)
            }
        }
    }

    /// Removes the node with minor number `minor`. Open files keep working. May sleep.
    pub(crate) fn remove(&mut self, minor: u32) {
        self.class.destroy_device(&self.region, minor);
        free_minor(DIRECTORY, minor);
    }
}

impl<const DIRECTORY: usize> Drop for HeapDevices<DIRECTORY> {
    fn drop(&mut self) {
        // No file is open, because an open one pins the module. A static is not dropped, so it is
        // cleared.
        if let Some(minors) = HEAPS.lock().get_mut(DIRECTORY) {
            *minors = KVec::new();
        }
    }
}

/// Allocates the lowest free minor number for `heap`. Fails with `ENOSPC` or `ENOMEM`.
fn alloc_minor(directory: usize, heap: Arc<OpenHeap>) -> Result<u32> {
    let mut heaps = HEAPS.lock();
    let minors = heaps.get_mut(directory).ok_or(EINVAL)?;
    let minor = minors
        .iter()
        .position(Option::is_none)
        .unwrap_or(minors.len());
    if minor >= MINORS as usize {
        return Err(ENOSPC);
    }
    match minors.get_mut(minor) {
        Some(slot) => *slot = Some(heap),
        None => minors.push(Some(heap), GFP_KERNEL)?,
    }
    Ok(minor as u32)
}

/// Frees a minor number.
fn free_minor(directory: usize, minor: u32) {
    let mut heaps = HEAPS.lock();
    let heap = heaps
        .get_mut(directory)
        .and_then(|minors| minors.get_mut(minor as usize))
        .and_then(Option::take);
    // This may be the last reference to the heap, which is not dropped under the lock.
    drop(heaps);
    drop(heap);
}
