// SPDX-License-Identifier: GPL-2.0

//! The heaps of `/dev/rk_dma_heap`: the Rockchip heap, and those that drivers add.
//!
//! # Locks
//!
//! [`HEAPS`] is a mutex. Nodes are made and removed under it; no memory of a heap is allocated or freed.

use crate::{
    bindings as c,
    cache_cleaner::Cleaner,
    cma::Area,
    dma_buf::DmaBuf,
    heap::{Contiguous, Heap, Request},
    ledger::Account,
    own_nodes::{OwnNodes, ROCKCHIP},
    page_arrays::{Listed, PageArrays},
    page_pool::Figures,
    task,
};
use core::{
    ffi::c_void,
    mem,
    ptr::{self, NonNull},
};
use kernel::{
    bindings,
    error::from_err_ptr,
    page::PAGE_SHIFT,
    prelude::*,
    rbtree::RBTree,
    str::CString,
    sync::{aref::ARef, Arc},
};

kernel::sync::global_lock! {
    // SAFETY: `prepare()` initialises the lock, and the module calls it before anything else.
    /// The heaps that there are, and their nodes.
    unsafe(uninit) static HEAPS: Mutex<Heaps> =
        Heaps { device: None, nodes: None, heaps: KVec::new() };
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

struct Heaps {
    /// The device for DMA mappings of the heaps' memory.
    device: Option<Arc<Cleaner>>,
    nodes: Option<OwnNodes<ROCKCHIP>>,
    heaps: KVec<Registered>,
}

/// A heap that drivers can find.
struct Registered {
    heap: Arc<RkHeap>,
    minor: u32,
    /// References that drivers hold.
    users: usize,
}

/// A heap, as drivers know it: `struct rk_dma_heap`.
pub(crate) struct RkHeap {
    account: Arc<Account>,
    backing: Backing,
}

/// Where a heap's memory comes from.
enum Backing {
    /// The module.
    Own {
        heap: Arc<dyn Contiguous>,
        arrays: Arc<PageArrays>,
    },
    /// The driver that added it.
    Driver(DriverHeap),
}

/// A heap that a driver has added.
///
/// # Invariants
///
/// The operations are valid while the heap is registered, and `allocate` is there; with `contiguous`, so are those for page
/// arrays.
pub(crate) struct DriverHeap {
    operations: NonNull<c::rk_dma_heap_ops>,
    private: *mut c_void,
    contiguous: bool,
}

// SAFETY: The driver's functions may be called by any thread.
unsafe impl Send for DriverHeap {}
// SAFETY: As above.
unsafe impl Sync for DriverHeap {}

impl DriverHeap {
    /// Takes what a driver describes.
    ///
    /// Fails with `EINVAL` where something is missing.
    ///
    /// # Safety
    ///
    /// The operations must be valid until the heap's last reference is put.
    pub(crate) unsafe fn new(info: &c::rk_dma_heap_export_info) -> Result<Self> {
        let operations = NonNull::new(info.ops.cast_mut()).ok_or(EINVAL)?;
        // SAFETY: The operations are valid, as the caller promises.
        let table = unsafe { operations.as_ref() };
        let pages = table.alloc_contig_pages.is_some() && table.free_contig_pages.is_some();
        if table.allocate.is_none() || (info.support_cma && !pages) {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above, and valid as the caller promises.
        Ok(Self {
            operations,
            private: info.priv_.cast(),
            contiguous: info.support_cma,
        })
    }
}

impl RkHeap {
    /// The heap's pointer in C.
    pub(crate) fn as_raw(&self) -> *mut c::rk_dma_heap {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The heap behind a driver's pointer.
    ///
    /// # Safety
    ///
    /// `heap` must come from [`RkHeap::as_raw`] of a heap that stays for `'a`.
    pub(crate) unsafe fn from_raw<'a>(heap: *mut c::rk_dma_heap) -> &'a Self {
        // SAFETY: As the caller promises.
        unsafe { &*heap.cast() }
    }

    /// The heap's name.
    pub(crate) fn name(&self) -> &CStr {
        self.account.heap()
    }

    /// Whether the heap hands out page arrays.
    pub(crate) fn is_contiguous(&self) -> bool {
        match &self.backing {
            Backing::Own { .. } => true,
            Backing::Driver(driver) => driver.contiguous,
        }
    }

    /// The module's own heap over `heap`.
    pub(crate) fn own(heap: Arc<dyn Contiguous>) -> Result<Arc<Self>> {
        let account = heap.account().clone();
        let arrays = Arc::pin_init(PageArrays::new(heap.area(), account.clone()), GFP_KERNEL)?;
        Ok(Arc::new(
            Self {
                account,
                backing: Backing::Own { heap, arrays },
            },
            GFP_KERNEL,
        )?)
    }

    /// A driver's heap named `name`.
    pub(crate) fn driver(name: &CStr, heap: DriverHeap) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                account: Account::open(name)?,
                backing: Backing::Driver(heap),
            },
            GFP_KERNEL,
        )?)
    }

    /// Allocates a dma-buf called `name`, else after the calling thread.
    ///
    /// May sleep. Fails as the heap does.
    pub(crate) fn allocate_named(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<ARef<DmaBuf>> {
        match &self.backing {
            Backing::Own { heap, .. } => {
                let buffer = heap.allocate(request)?;
                match name {
                    Some(name) => buffer.set_name(name)?,
                    None => buffer.set_name(&task::name()?)?,
                }
                Ok(buffer)
            }
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is there.
                let buffer = unsafe {
                    let allocate = driver.operations.as_ref().allocate.ok_or(EINVAL)?;
                    allocate(
                        self.as_raw(),
                        request.size(),
                        request.flags() as usize,
                        0,
                        name,
                    )
                };
                let buffer = NonNull::new(from_err_ptr(buffer)?).ok_or(ENOMEM)?;
                // SAFETY: The operation returns a dma-buf with a reference, which is passed on.
                Ok(unsafe { ARef::from_raw(buffer.cast()) })
            }
        }
    }

    /// Allocates a page array of `request`'s size for `name`, else for the calling thread.
    ///
    /// May sleep. Fails as the heap does, and with `EINVAL` where it is not contiguous.
    pub(crate) fn allocate_pages(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<NonNull<bindings::page>> {
        match &self.backing {
            Backing::Own { heap, arrays } => {
                let owner = match name {
                    Some(name) => CString::try_from(name)?,
                    None => task::name()?,
                };
                let pages = request.size() >> PAGE_SHIFT;
                let segment = arrays.enter(heap.allocate_pages(pages)?, pages, owner)?;
                // SAFETY: The segment was just allocated.
                NonNull::new(unsafe { c::pfn_to_page(segment.frame) }).ok_or(ENOMEM)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is there.
                let page = unsafe {
                    let allocate = driver
                        .operations
                        .as_ref()
                        .alloc_contig_pages
                        .ok_or(EINVAL)?;
                    allocate(self.as_raw(), request.size(), name)
                };
                NonNull::new(from_err_ptr(page)?).ok_or(ENOMEM)
            }
            Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Takes a page array back that begins with `page`.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, where the module has not handed out such an array.
    ///
    /// # Safety
    ///
    /// `page` must be a page. Nobody may use the array any more.
    pub(crate) unsafe fn free_pages(
        &self,
        page: *mut bindings::page,
        request: Request,
        name: Option<&CStr>,
    ) -> Result {
        match &self.backing {
            Backing::Own { arrays, .. } => {
                // SAFETY: `page` is a page, as the caller promises.
                let frame = unsafe { c::page_to_pfn(page) };
                arrays.leave(frame, request.size() >> PAGE_SHIFT)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is there.
                unsafe {
                    let free = driver.operations.as_ref().free_contig_pages.ok_or(EINVAL)?;
                    free(self.as_raw(), page, request.size(), name);
                }
                Ok(())
            }
            Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// The page arrays that the heap has handed out, oldest first. May sleep. Fails with `ENOMEM`.
    pub(crate) fn page_arrays(&self) -> Result<RBTree<u64, Listed>> {
        match &self.backing {
            Backing::Own { arrays, .. } => arrays.list(),
            Backing::Driver(_) => Ok(RBTree::new()),
        }
    }

    /// The area that the heap's memory comes from, where it is the module's.
    pub(crate) fn area(&self) -> Option<Area> {
        match &self.backing {
            Backing::Own { heap, .. } => Some(heap.area()),
            Backing::Driver(_) => None,
        }
    }

    /// What the heap was added with.
    pub(crate) fn private(&self) -> *mut c_void {
        match &self.backing {
            Backing::Own { .. } => ptr::null_mut(),
            Backing::Driver(driver) => driver.private,
        }
    }
}

impl Heap for RkHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool(&self) -> Option<Figures> {
        None
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        self.allocate_named(request, None)
    }
}

/// The heaps can be found while this lives.
pub(crate) struct Registration(());

impl Registration {
    /// Makes the folder. `device` is the one that drivers get for DMA mappings.
    ///
    /// May sleep. Fails as [`OwnNodes::new`] does.
    pub(crate) fn new(device: Arc<Cleaner>) -> Result<Self> {
        let nodes = OwnNodes::new()?;
        let mut heaps = HEAPS.lock();
        heaps.nodes = Some(nodes);
        heaps.device = Some(device);
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut heaps = HEAPS.lock();
        // A static is not dropped, so it is emptied; the parts are dropped without the lock.
        let parts = (
            heaps.nodes.take(),
            mem::replace(&mut heaps.heaps, KVec::new()),
            heaps.device.take(),
        );
        drop(heaps);
        drop(parts);
    }
}

/// Registers `heap`, with one reference.
///
/// May sleep. Fails with `EEXIST` where its name is taken, and as [`OwnNodes::add`] does.
pub(crate) fn add(heap: Arc<RkHeap>) -> Result<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    if heaps
        .heaps
        .iter()
        .any(|other| other.heap.account().heap() == heap.account().heap())
    {
        return Err(EEXIST);
    }
    heaps.heaps.reserve(1, GFP_KERNEL)?;
    let minor = heaps.nodes.as_mut().ok_or(ENODEV)?.add(heap.clone())?;
    let raw = heap.as_raw();
    heaps.heaps.push(
        Registered {
            heap,
            minor,
            users: 1,
        },
        GFP_KERNEL,
    )?;
    Ok(raw)
}

/// The heap named `name`, with one more reference. May sleep.
pub(crate) fn find(name: &CStr) -> Option<*mut c::rk_dma_heap> {
    let mut heaps = HEAPS.lock();
    let entry = heaps
        .heaps
        .iter_mut()
        .find(|entry| entry.heap.account().heap() == name)?;
    entry.users = entry.users.checked_add(1)?;
    Some(entry.heap.as_raw())
}

/// Gives a reference to `heap` back; false where there is no such heap. May sleep.
pub(crate) fn put(heap: *mut c::rk_dma_heap) -> bool {
    let mut guard = HEAPS.lock();
    let heaps = &mut *guard;
    let Some(index) = heaps
        .heaps
        .iter()
        .position(|entry| entry.heap.as_raw() == heap)
    else {
        return false;
    };
    let Some(entry) = heaps.heaps.get_mut(index) else {
        return false;
    };
    entry.users = entry.users.saturating_sub(1);
    // The module's own heap stays, whatever drivers do.
    if entry.users == 0 && entry.heap.area().is_none() {
        if let (Ok(entry), Some(nodes)) = (heaps.heaps.remove(index), heaps.nodes.as_mut()) {
            nodes.remove(entry.minor);
        }
    }
    true
}

/// The heap behind a driver's pointer, if there is such a heap. May sleep.
pub(crate) fn heap(heap: *mut c::rk_dma_heap) -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.as_raw() == heap)
        .map(|entry| entry.heap.clone())
}

/// The device for DMA mappings of the heaps' memory. May sleep.
pub(crate) fn device() -> Option<Arc<Cleaner>> {
    HEAPS.lock().device.clone()
}

/// All heaps. May sleep. Fails with `ENOMEM`.
pub(crate) fn heaps() -> Result<KVec<Arc<RkHeap>>> {
    let heaps = HEAPS.lock();
    let mut all = KVec::with_capacity(heaps.heaps.len(), GFP_KERNEL)?;
    for entry in &heaps.heaps {
        all.push(entry.heap.clone(), GFP_KERNEL)?;
    }
    Ok(all)
}

/// The module's own heap. May sleep.
pub(crate) fn own() -> Option<Arc<RkHeap>> {
    HEAPS
        .lock()
        .heaps
        .iter()
        .find(|entry| entry.heap.area().is_some())
        .map(|entry| entry.heap.clone())
}
