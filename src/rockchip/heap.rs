// SPDX-License-Identifier: GPL-2.0

//! A heap of the functions for drivers: the module's own Rockchip heap, its heap of single pages,
//! or one that a driver has added.
//!
//! C header: `include/linux/rk-dma-heap.h`

mod allocation;

use super::DriverHeap;
use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        cma::Area,
        dma_buf::DmaBuf, //
    },
    bindings as c,
    decisions::request::Request,
    heap::{
        Contiguous,
        Heap, //
    },
    kept_memory::KeptMemory,
    ledger::Account,
    page_arrays::{
        PageArrayInfo,
        PageArrays, //
    },
    page_pool::PoolStats,
    range_cache::LeftBeyondArea, //
};
use core::{
    ffi::c_void,
    ptr, //
};
use kernel::{
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
    SinglePages { limit: usize, kept: Arc<KeptMemory> },
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
        let arrays = PageArrays::new(heap.range_cache().clone(), account.clone());
        let arrays = Arc::pin_init(arrays, GFP_KERNEL)?;
        Self::new(account, Backing::Own { heap, arrays })
    }

    /// Creates the heap of single pages named `name`. A request has no more than `limit` pages, and
    /// may use the memory of `kept`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new_single_pages(
        name: &CStr,
        limit: usize,
        kept: Arc<KeptMemory>,
    ) -> Result<Arc<Self>> {
        Self::new(Account::new(name)?, Backing::SinglePages { limit, kept })
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

    /// Returns the live page arrays of the module's own heap, oldest first; none for another heap.
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn page_arrays(&self) -> Result<RBTree<u64, PageArrayInfo>> {
        match &self.backing {
            Backing::Own { arrays, .. } => arrays.list(),
            _ => Ok(RBTree::new()),
        }
    }

    /// Returns the area of the module's own heap, if it has one, and `None` for another heap.
    pub(crate) fn area(&self) -> Option<Area> {
        match &self.backing {
            Backing::Own { heap, .. } => heap.area(),
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

    fn left_beyond_area(&self) -> LeftBeyondArea {
        match &self.backing {
            Backing::Own { heap, .. } => heap.left_beyond_area(),
            _ => LeftBeyondArea::default(),
        }
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        self.allocate_named(request, None)
    }
}
