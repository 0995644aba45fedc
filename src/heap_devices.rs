// SPDX-License-Identifier: GPL-2.0

//! Heap nodes of the module's own: those of `/dev/dma_heap` on a kernel without
//! `CONFIG_DMABUF_HEAPS`, and those of `/dev/rk_dma_heap` on every kernel.
//!
//! Class, folder, mode, ioctl and errors are those of the kernel's dma-heap core. The core ignores
//! the type of an ioctl, so the vendor's number for the same command is served as well.

use crate::{
    abstractions::char_device::{
        CharDevice,
        ChrdevRegion,
        Class, //
    },
    allocate_ioctl,
    heap::Heap, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// How many heaps there can be in a folder: as many as in the kernel's core.
const MINORS: u32 = 128;

/// `/dev/dma_heap`.
#[cfg(not(CONFIG_DMABUF_HEAPS))]
pub(crate) const STANDARD: usize = 0;

/// `/dev/rk_dma_heap`.
pub(crate) const ROCKCHIP: usize = 1;

/// The names of the folders, of their classes, and in `/proc/devices`.
const NAMES: [&CStr; 2] = [c"dma_heap", c"rk_dma_heap"];

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The heap behind each minor, by folder.
    unsafe(uninit) static HEAPS: Mutex<[KVec<Option<Arc<OpenHeap>>>; NAMES.len()]> = [KVec::new(), KVec::new()];
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

/// A heap, as an open file holds it.
pub(crate) struct OpenHeap(Arc<dyn Heap>);

/// The devices of a folder.
struct HeapDevice<const FOLDER: usize>;

impl<const FOLDER: usize> CharDevice for HeapDevice<FOLDER> {
    type File = Arc<OpenHeap>;

    fn open(minor: u32) -> Result<Arc<OpenHeap>> {
        let heaps = HEAPS.lock();
        heaps
            .get(FOLDER)
            .and_then(|folder| folder.get(minor as usize))
            .cloned()
            .flatten()
            .ok_or(ENXIO)
    }

    fn ioctl(heap: ArcBorrow<'_, OpenHeap>, command: u32, argument: usize) -> Result<isize> {
        allocate_ioctl::serve(&*heap.0, command, argument)
    }
}

/// The nodes of a folder, and what they rest on. The fields are dropped in this order.
pub(crate) struct HeapDevices<const FOLDER: usize> {
    class: Class,
    range: ChrdevRegion<HeapDevice<FOLDER>>,
}

impl<const FOLDER: usize> HeapDevices<FOLDER> {
    /// Makes the folder; there are no nodes yet. May sleep. Fails as [`ChrdevRegion::new`] and
    /// [`Class::new`] do.
    pub(crate) fn new() -> Result<Self> {
        let name = *NAMES.get(FOLDER).ok_or(EINVAL)?;
        let range = ChrdevRegion::new(name, MINORS)?;
        Ok(Self {
            class: Class::new(name)?,
            range,
        })
    }

    /// Makes the node of `heap` and returns its minor number. May sleep. Fails with `ENOSPC` where
    /// all minors are in use, and as [`Class::add`] does.
    pub(crate) fn add(&mut self, heap: Arc<dyn Heap>) -> Result<u32> {
        let open = Arc::new(OpenHeap(heap.clone()), GFP_KERNEL)?;
        // A node can be opened as soon as it is there, so the heap is entered first, and taken out
        // again if there is none.
        let minor = enter(FOLDER, open)?;
        match self.class.add(&self.range, minor, heap.account().heap()) {
            Ok(()) => Ok(minor),
            Err(error) => {
                leave(FOLDER, minor);
                Err(error)
            }
        }
    }

    /// Removes the node with minor number `minor`. Files that are open stay so. May sleep.
    pub(crate) fn remove(&mut self, minor: u32) {
        self.class.remove(&self.range, minor);
        leave(FOLDER, minor);
    }
}

impl<const FOLDER: usize> Drop for HeapDevices<FOLDER> {
    fn drop(&mut self) {
        // No file is open any more: an open one keeps the module. A static is not dropped, so it is
        // emptied.
        if let Some(folder) = HEAPS.lock().get_mut(FOLDER) {
            *folder = KVec::new();
        }
    }
}

/// Finds a minor number for `heap`.
fn enter(folder: usize, heap: Arc<OpenHeap>) -> Result<u32> {
    let mut heaps = HEAPS.lock();
    let folder = heaps.get_mut(folder).ok_or(EINVAL)?;
    let minor = folder
        .iter()
        .position(Option::is_none)
        .unwrap_or(folder.len());
    if minor >= MINORS as usize {
        return Err(ENOSPC);
    }
    match folder.get_mut(minor) {
        Some(slot) => *slot = Some(heap),
        None => folder.push(Some(heap), GFP_KERNEL)?,
    }
    Ok(minor as u32)
}

/// Frees a minor number.
fn leave(folder: usize, minor: u32) {
    let mut heaps = HEAPS.lock();
    let heap = heaps
        .get_mut(folder)
        .and_then(|folder| folder.get_mut(minor as usize))
        .and_then(Option::take);
    // The heap may be dropped with this, which is not for under the lock.
    drop(heaps);
    drop(heap);
}
