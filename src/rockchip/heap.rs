// SPDX-License-Identifier: GPL-2.0

//! A heap of `/dev/rk_dma_heap`: the module's own Rockchip heap, or one that a driver has added.
//!
//! C header: `include/linux/rk-dma-heap.h`

use crate::{
    abstractions::{
        cma::Area,
        dma_buf::DmaBuf,
        task, //
    },
    bindings as c,
    decisions::request::Request,
    heap::{
        Contiguous,
        Heap, //
    },
    ledger::Account,
    page_arrays::{
        PageArrayInfo,
        PageArrays, //
    },
    page_pool::PoolStats, //
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

/// `struct rk_dma_heap`, which is opaque to drivers.
pub(crate) struct RkHeap {
    account: Arc<Account>,
    backing: Backing,
}

/// The owner of a heap's memory.
enum Backing {
    /// This module.
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
/// `ops` is valid while the heap is registered, and its `allocate` is set. If `contiguous` is true,
/// its operations for page arrays are set as well.
pub(crate) struct DriverHeap {
    ops: NonNull<c::rk_dma_heap_ops>,
    drvdata: *mut c_void,
    contiguous: bool,
}

// SAFETY: Any thread may call the driver's operations.
unsafe impl Send for DriverHeap {}
// SAFETY: As above.
unsafe impl Sync for DriverHeap {}

impl DriverHeap {
    /// Creates a heap from a driver's description.
    ///
    /// Fails with `EINVAL` if a mandatory operation is missing.
    ///
    /// # Safety
    ///
    /// The operations must be valid until the heap's last reference is put.
    pub(crate) unsafe fn new(info: &c::rk_dma_heap_export_info) -> Result<Self> {
        let ops = NonNull::new(info.ops.cast_mut()).ok_or(EINVAL)?;
        // SAFETY: The caller promises that the operations are valid.
        let table = unsafe { ops.as_ref() };
        let pages = table.alloc_contig_pages.is_some() && table.free_contig_pages.is_some();
        if table.allocate.is_none() || (info.support_cma && !pages) {
            return Err(EINVAL);
        }
        // INVARIANT: The operations were checked above. The caller promises that they are valid.
        Ok(Self {
            ops,
            drvdata: info.priv_.cast(),
            contiguous: info.support_cma,
        })
    }
}

impl RkHeap {
    /// Returns the pointer by which drivers know the heap.
    pub(crate) fn as_raw(&self) -> *mut c::rk_dma_heap {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Converts a driver's pointer.
    ///
    /// # Safety
    ///
    /// `heap` must come from [`RkHeap::as_raw`] of a heap that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(heap: *mut c::rk_dma_heap) -> &'a Self {
        // SAFETY: The caller promises that this is an `RkHeap` that lives for `'a`.
        unsafe { &*heap.cast() }
    }

    /// Returns the heap's name.
    pub(crate) fn name(&self) -> &CStr {
        self.account.heap_name()
    }

    /// Returns whether the heap supports page arrays.
    pub(crate) fn is_contiguous(&self) -> bool {
        match &self.backing {
            Backing::Own { .. } => true,
            Backing::Driver(driver) => driver.contiguous,
        }
    }

    /// Creates the module's own heap over `heap`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_own(heap: Arc<dyn Contiguous>) -> Result<Arc<Self>> {
        let account = heap.account().clone();
        let arrays = PageArrays::new(heap.area(), heap.range_cache().clone(), account.clone());
        let arrays = Arc::pin_init(arrays, GFP_KERNEL)?;
        Ok(Arc::new(
            Self {
                account,
                backing: Backing::Own { heap, arrays },
            },
            GFP_KERNEL,
        )?)
    }

    /// Creates a driver's heap named `name`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_driver(name: &CStr, heap: DriverHeap) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                account: Account::new(name)?,
                backing: Backing::Driver(heap),
            },
            GFP_KERNEL,
        )?)
    }

    /// Allocates a dma-buf named `name`, by default after the calling thread.
    ///
    /// May sleep. Fails as [`Heap::allocate`] or the driver's operation does.
    pub(crate) fn allocate_named(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<ARef<DmaBuf>> {
        match &self.backing {
            Backing::Own { heap, .. } => {
                let buffer = heap.allocate(request)?;
                match name {
                    Some(name) => buffer.set_name(name.to_bytes())?,
                    None => buffer.set_name(task::Comm::current().as_bytes())?,
                }
                Ok(buffer)
            }
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is set.
                let buffer = unsafe {
                    let allocate = driver.ops.as_ref().allocate.ok_or(EINVAL)?;
                    allocate(
                        self.as_raw(),
                        request.size(),
                        request.flags() as usize,
                        0,
                        name,
                    )
                };
                let buffer = NonNull::new(from_err_ptr(buffer)?).ok_or(ENOMEM)?;
                // SAFETY: The operation returns a dma-buf with a reference, which is passed to the
                // caller.
                Ok(unsafe { ARef::from_raw(buffer.cast()) })
            }
        }
    }

    /// Allocates a page array of `request`'s size for `name`, by default for the calling thread.
    ///
    /// May sleep. Fails with `EINVAL` if the heap is not contiguous, and otherwise as
    /// [`Contiguous::allocate_pages`] or the driver's operation does.
    pub(crate) fn allocate_pages(
        &self,
        request: Request,
        name: Option<&CStr>,
    ) -> Result<NonNull<bindings::page>> {
        match &self.backing {
            Backing::Own { heap, arrays } => {
                let owner = match name {
                    Some(name) => CString::try_from(name)?,
                    None => task::current_comm()?,
                };
                let pages = request.size() >> PAGE_SHIFT;
                let range = heap.allocate_pages(pages)?;
                let segment = arrays.insert(range, pages, owner)?;
                // SAFETY: The segment was just allocated, so its page frames exist.
                NonNull::new(unsafe { c::pfn_to_page(segment.pfn) }).ok_or(ENOMEM)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is set.
                let page = unsafe {
                    let allocate = driver.ops.as_ref().alloc_contig_pages.ok_or(EINVAL)?;
                    allocate(self.as_raw(), request.size(), name)
                };
                NonNull::new(from_err_ptr(page)?).ok_or(ENOMEM)
            }
            Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Frees the page array of `request`'s size that begins with `page`.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, if the module has not allocated such an
    /// array.
    ///
    /// # Safety
    ///
    /// `page` must be a page, and the array must not be used afterwards.
    pub(crate) unsafe fn free_pages(
        &self,
        page: *mut bindings::page,
        request: Request,
        name: Option<&CStr>,
    ) -> Result {
        match &self.backing {
            Backing::Own { arrays, .. } => {
                // SAFETY: The caller promises that `page` is a page.
                let pfn = unsafe { c::page_to_pfn(page) };
                arrays.remove(pfn, request.size() >> PAGE_SHIFT)
            }
            Backing::Driver(driver) if driver.contiguous => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                // SAFETY: By the type's invariant the operations are valid, and this one is set.
                unsafe {
                    let free = driver.ops.as_ref().free_contig_pages.ok_or(EINVAL)?;
                    free(self.as_raw(), page, request.size(), name);
                }
                Ok(())
            }
            Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Returns the live page arrays of the module's own heap, oldest first; none for a driver's
    /// heap. May sleep. Fails with `ENOMEM`.
    pub(crate) fn page_arrays(&self) -> Result<RBTree<u64, PageArrayInfo>> {
        match &self.backing {
            Backing::Own { arrays, .. } => arrays.list(),
            Backing::Driver(_) => Ok(RBTree::new()),
        }
    }

    /// Returns the area of the module's own heap, and `None` for a driver's heap.
    pub(crate) fn area(&self) -> Option<Area> {
        match &self.backing {
            Backing::Own { heap, .. } => Some(heap.area()),
            Backing::Driver(_) => None,
        }
    }

    /// Returns the driver data of a driver's heap, and null for the module's own.
    pub(crate) fn drvdata(&self) -> *mut c_void {
        match &self.backing {
            Backing::Own { .. } => ptr::null_mut(),
            Backing::Driver(driver) => driver.drvdata,
        }
    }
}

impl Heap for RkHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool_stats(&self) -> Option<PoolStats> {
        None
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        self.allocate_named(request, None)
    }
}
