// SPDX-License-Identifier: GPL-2.0

//! A heap as drivers know it: the module's own Rockchip heap, or one that a driver has added.

use crate::{
    abstractions::{
        cma::Area,
        dma_buf::DmaBuf,
        task, //
    },
    bindings as c,
    decisions::request::Request,
    heap::{
        self,
        Contiguous,
        Heap, //
    },
    ledger::Account,
    page_arrays::{
        Listed,
        PageArrays, //
    },
    page_pool::PoolStats,
    range_cache::RangeCache, //
};
use core::{
    ffi::c_void,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    page::PAGE_SHIFT,
    prelude::*,
    rbtree::RBTree,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A heap, as drivers know it: `struct rk_dma_heap`.
pub(crate) struct RkHeap {
    account: Arc<Account>,
    ranges: Arc<RangeCache>,
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
/// The operations are valid while the heap is registered, and `allocate` is there; with
/// `contiguous`, so are those for page arrays.
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
        let ranges = heap.range_cache().clone();
        let arrays = PageArrays::new(heap.area(), ranges.clone(), account.clone());
        let arrays = Arc::pin_init(arrays, GFP_KERNEL)?;
        Ok(Arc::new(
            Self {
                account,
                ranges,
                backing: Backing::Own { heap, arrays },
            },
            GFP_KERNEL,
        )?)
    }

    /// A driver's heap named `name`.
    pub(crate) fn driver(
        name: &CStr,
        heap: DriverHeap,
        ranges: Arc<RangeCache>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                account: Account::open(name)?,
                ranges,
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
                let buffer = heap::allocate(&**heap, request)?;
                match name {
                    Some(name) => buffer.set_name(name.to_bytes())?,
                    None => buffer.set_name(task::Name::current().as_bytes())?,
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
                let range = self
                    .ranges
                    .retry_after_drain(|| heap.allocate_pages(pages))?;
                let segment = arrays.enter(range, pages, owner)?;
                // SAFETY: The segment was just allocated.
                NonNull::new(unsafe { c::pfn_to_page(segment.pfn) }).ok_or(ENOMEM)
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
    /// May sleep. Fails with `EINVAL`, and changes nothing, where the module has not handed out
    /// such an array.
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
                let pfn = unsafe { c::page_to_pfn(page) };
                arrays.leave(pfn, request.size() >> PAGE_SHIFT)
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

    fn pool(&self) -> Option<PoolStats> {
        None
    }

    fn ranges(&self) -> &RangeCache {
        &self.ranges
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        self.allocate_named(request, None)
    }
}
