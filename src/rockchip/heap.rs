// SPDX-License-Identifier: GPL-2.0

//! A heap of the functions for drivers: the module's own Rockchip heap, its heap of single pages,
//! or one that a driver has added.
//!
//! C header: `include/linux/rk-dma-heap.h`

use super::DriverHeap;
use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        cma::Area,
        dma_buf::DmaBuf,
        single_pages,
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
    page_pool::{
        PoolSet,
        PoolStats, //
    },
    watermarks, //
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
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    rbtree::RBTree,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// `struct rk_dma_heap`, which is opaque to drivers.
pub(crate) struct RkHeap {
    account: Arc<Account>,
    backing: Backing,
    /// The device for DMA mappings of the heap's memory.
    device: Cleaner,
    /// The size of what the heap has handed out apart from dma-bufs and page arrays, in bytes.
    total: Atomic<usize>,
    /// Only their addresses matter.
    handles: [u8; 2],
}

/// The way in which a driver came by its pointer to a heap. Each has its own pointer, so the last
/// reference of the driver that has added the heap is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `rk_dma_heap_add()`, and the driver's operations.
    Adder,
    /// `rk_dma_heap_find()`.
    Finder,
}

/// The owner of a heap's memory.
enum Backing {
    /// This module.
    Own {
        heap: Arc<dyn Contiguous>,
        arrays: Arc<PageArrays>,
    },
    /// The page allocator. A request has no more than `limit` pages.
    SinglePages { limit: usize, pools: Arc<PoolSet> },
    /// The driver that added it.
    Driver(DriverHeap),
}

/// The number of devices so far. A device may live longer than the name of its heap is taken.
static DEVICES: Atomic<usize> = Atomic::new(0);

impl RkHeap {
    /// Returns the pointer by which drivers in `role` know the heap.
    pub(crate) fn handle(&self, role: Role) -> *mut c::rk_dma_heap {
        let [adder, finder] = &self.handles;
        let handle = match role {
            Role::Adder => adder,
            Role::Finder => finder,
        };
        ptr::from_ref(handle).cast_mut().cast()
    }

    /// Returns the role of a driver that knows the heap by `handle`.
    pub(crate) fn role(&self, handle: *mut c::rk_dma_heap) -> Option<Role> {
        [Role::Adder, Role::Finder]
            .into_iter()
            .find(|role| self.handle(*role) == handle)
    }

    fn new(account: Arc<Account>, backing: Backing) -> Result<Arc<Self>> {
        let name = CString::try_from_fmt(fmt!(
            "rk_dma_heap.{}:{}",
            DEVICES.fetch_add(1, Relaxed),
            account.heap_name()
        ))?;
        // No other device has the name, so only memory can be missing.
        let device = Cleaner::new(&name).map_err(|_| ENOMEM)?;
        Ok(Arc::new(
            Self {
                account,
                backing,
                device,
                total: Atomic::new(0),
                handles: [0; 2],
            },
            GFP_KERNEL,
        )?)
    }

    /// Creates the module's own heap over `heap`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_own(heap: Arc<dyn Contiguous>) -> Result<Arc<Self>> {
        let account = heap.account().clone();
        let arrays = PageArrays::new(heap.area(), heap.range_cache().clone(), account.clone());
        let arrays = Arc::pin_init(arrays, GFP_KERNEL)?;
        Self::new(account, Backing::Own { heap, arrays })
    }

    /// Creates the heap of single pages named `name`. A request has no more than `limit` pages, and
    /// may use the memory of `pools`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_single_pages(
        name: &CStr,
        limit: usize,
        pools: Arc<PoolSet>,
    ) -> Result<Arc<Self>> {
        Self::new(Account::new(name)?, Backing::SinglePages { limit, pools })
    }

    /// Creates a driver's heap named `name`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_driver(name: &CStr, heap: DriverHeap) -> Result<Arc<Self>> {
        Self::new(Account::new(name)?, Backing::Driver(heap))
    }

    /// Returns the heap's name.
    pub(crate) fn name(&self) -> &CStr {
        self.account.heap_name()
    }

    /// Returns the heap's device.
    pub(crate) fn device(&self) -> &Cleaner {
        &self.device
    }

    /// Returns whether the heap supports page arrays.
    pub(crate) fn is_contiguous(&self) -> bool {
        match &self.backing {
            Backing::Own { .. } => true,
            Backing::SinglePages { .. } => false,
            Backing::Driver(driver) => driver.contiguous,
        }
    }

    /// Returns the heap's operations, if a driver has added it.
    pub(crate) fn driver(&self) -> Option<&DriverHeap> {
        match &self.backing {
            Backing::Driver(driver) => Some(driver),
            _ => None,
        }
    }

    /// Allocates a dma-buf named `name`, by default after the calling thread.
    ///
    /// May sleep. Fails with `EINVAL` if the heap has no buffers, with `ENODEV` if its driver has
    /// removed it, and as [`Heap::allocate`] or the driver's operation does.
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
            Backing::SinglePages { .. } => Err(EINVAL),
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter_allocation()?;
                let allocate = call.ops.allocate.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                let buffer = unsafe {
                    allocate(
                        self.handle(Role::Adder),
                        request.size(),
                        request.flags() as usize,
                        request.heap_flags() as usize,
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
    /// May sleep. Fails with `EINVAL` if the heap is not contiguous, with `ENODEV` if its driver
    /// has removed it, and otherwise as [`Contiguous::allocate_pages`] or the driver's operation
    /// does.
    pub(crate) fn allocate_contiguous(
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
                let call = driver.enter_allocation()?;
                let allocate = call.ops.alloc_contig_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                let page = unsafe { allocate(self.handle(Role::Adder), request.size(), name) };
                NonNull::new(from_err_ptr(page)?).ok_or(ENOMEM)
            }
            Backing::SinglePages { .. } | Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Frees the page array of `request`'s size that begins with `page`.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, if the module has not allocated such an
    /// array. Fails with `ENODEV` if the heap's driver has removed it.
    ///
    /// # Safety
    ///
    /// `page` must be a page, and the array must not be used afterwards.
    pub(crate) unsafe fn free_contiguous(
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
                let call = driver.enter()?;
                let free = call.ops.free_contig_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                unsafe { free(self.handle(Role::Adder), page, request.size(), name) };
                Ok(())
            }
            Backing::SinglePages { .. } | Backing::Driver(_) => Err(EINVAL),
        }
    }

    /// Allocates a zeroed page for each element of `pages`.
    ///
    /// May sleep if `flags` permit it. Fails with `EINVAL` if the heap has no single pages, with
    /// `ENODEV` if its driver has removed it, with `ENOMEM`, and as the driver's operation does.
    pub(crate) fn allocate_singles(
        &self,
        pages: &mut [*mut bindings::page],
        flags: bindings::gfp_t,
        name: Option<&CStr>,
    ) -> Result {
        match &self.backing {
            Backing::SinglePages { limit, pools } => {
                let may_fail = single_pages::reclaims_and_may_fail(flags);
                if pages.len() > *limit || may_fail && !watermarks::can_exist(pages.len(), &**pools)
                {
                    return Err(ENOMEM);
                }
                single_pages::allocate(pages, flags, || match may_fail {
                    // Pages of drivers are not counted as a loan would be.
                    true => watermarks::ensure_whole_reserve(&**pools),
                    false => Ok(()),
                })?;
                self.add_to_total(pages.len() << PAGE_SHIFT);
                Ok(())
            }
            Backing::Driver(driver) => {
                let name = name.map_or(ptr::null(), CStr::as_char_ptr);
                let call = driver.enter_allocation()?;
                let allocate = call.ops.alloc_pages.ok_or(EINVAL)?;
                let size = pages.len() << PAGE_SHIFT;
                // SAFETY: The operation is valid during the call. The array has an element for each
                // page of the size.
                to_result(unsafe {
                    allocate(
                        self.handle(Role::Adder),
                        pages.as_mut_ptr(),
                        size,
                        flags,
                        name,
                    )
                })
            }
            Backing::Own { .. } => Err(EINVAL),
        }
    }

    /// Frees each page of `pages`, and writes null there. Fails with `EINVAL` if the heap has no
    /// single pages, and with `ENODEV` if its driver has removed it.
    ///
    /// # Safety
    ///
    /// Each element must be null or a page of [`RkHeap::allocate_singles`] that the caller owns.
    pub(crate) unsafe fn free_singles(&self, pages: &mut [*mut bindings::page]) -> Result {
        match &self.backing {
            Backing::SinglePages { .. } => {
                let count = pages.iter().filter(|page| !page.is_null()).count();
                // SAFETY: The caller promises this.
                unsafe { single_pages::free(pages) };
                self.subtract_from_total(count << PAGE_SHIFT);
                Ok(())
            }
            Backing::Driver(driver) => {
                let count = u32::try_from(pages.len())?;
                let call = driver.enter()?;
                let free = call.ops.free_pages.ok_or(EINVAL)?;
                // SAFETY: The operation is valid during the call.
                unsafe { free(self.handle(Role::Adder), pages.as_mut_ptr(), count) };
                pages.fill(ptr::null_mut());
                Ok(())
            }
            Backing::Own { .. } => Err(EINVAL),
        }
    }

    /// Returns the live page arrays of the module's own heap, oldest first; none for another heap.
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn page_arrays(&self) -> Result<RBTree<u64, PageArrayInfo>> {
        match &self.backing {
            Backing::Own { arrays, .. } => arrays.list(),
            _ => Ok(RBTree::new()),
        }
    }

    /// Returns the area of the module's own heap, and `None` for another heap.
    pub(crate) fn area(&self) -> Option<Area> {
        match &self.backing {
            Backing::Own { heap, .. } => Some(heap.area()),
            _ => None,
        }
    }

    /// Returns the driver data of a driver's heap, and null for the module's own.
    pub(crate) fn drvdata(&self) -> *mut c_void {
        self.driver()
            .map_or(ptr::null_mut(), |driver| driver.drvdata)
    }

    /// Returns the size of the pools of a driver's heap in bytes, and 0 for another heap. May
    /// sleep.
    pub(crate) fn pool_size(&self) -> usize {
        let size = || {
            let call = self.driver()?.enter_allocation().ok()?;
            let get_pool_size = call.ops.get_pool_size?;
            // SAFETY: The operation is valid during the call.
            let size = unsafe { get_pool_size(self.handle(Role::Adder)) };
            usize::try_from(size).ok()
        };
        size().unwrap_or(0)
    }

    /// Returns the size of what the heap has handed out apart from dma-bufs and page arrays, in
    /// bytes.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Adds `bytes` to [`RkHeap::total`]. Does not sleep.
    pub(crate) fn add_to_total(&self, bytes: usize) {
        self.change_total(|total| total.saturating_add(bytes));
    }

    /// Subtracts `bytes` from [`RkHeap::total`], which does not become negative. Does not sleep.
    pub(crate) fn subtract_from_total(&self, bytes: usize) {
        self.change_total(|total| total.saturating_sub(bytes));
    }

    fn change_total(&self, change: impl Fn(usize) -> usize) {
        let mut total = self.total();
        while let Err(current) = self.total.cmpxchg(total, change(total), Relaxed) {
            total = current;
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
