// SPDX-License-Identifier: GPL-2.0

//! The nodes of `/dev/dma_heap` on a kernel with `CONFIG_DMABUF_HEAPS`: those of its dma-heap core.
//!
//! The core has no way to take a heap back. So the module pins itself with the first heap that it
//! adds.
//!
//! C header: [`include/linux/dma-heap.h`](srctree/include/linux/dma-heap.h)

use super::Handle;
use crate::{
    abstractions::{
        path,
        version, //
    },
    bindings as c,
    decisions::request::Request,
    heap::{
        self,
        Heap, //
    }, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// The operations of every heap that is added.
static OPERATIONS: c::dma_heap_ops = c::dma_heap_ops {
    allocate: Some(allocate),
};

/// The nodes: the core owns them.
pub(crate) struct Nodes {
    pinned: bool,
}

impl Nodes {
    /// Nothing needs to be prepared.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { pinned: false })
    }

    /// Adds `heap` to the kernel's registry, for good. Fails with `EEXIST` where its name is taken.
    pub(crate) fn add(&mut self, heap: &Arc<dyn Heap>) -> Result<Handle> {
        let name = heap.account().heap();
        // The core looks for the name only after it has made the device, and the driver core warns
        // about that one.
        if path::exists(&CString::try_from_fmt(fmt!(
            "/sys/class/dma_heap/{}",
            name
        ))?) || path::exists(&CString::try_from_fmt(fmt!("/dev/dma_heap/{}", name))?)
        {
            return Err(EEXIST);
        }
        let private = KBox::new(heap.clone(), GFP_KERNEL)?;
        let private = KBox::into_raw(private);
        let info = c::dma_heap_export_info {
            name: name.as_char_ptr(),
            ops: &OPERATIONS,
            priv_: private.cast(),
        };
        // SAFETY: The name lives in the heap's account, which `private` keeps; the core keeps both
        // for good, as the module is never unloaded from here on.
        let handle = from_err_ptr(unsafe { c::dma_heap_add(&info) }).inspect_err(|_| {
            // SAFETY: The core did not take the heap.
            drop(unsafe { KBox::from_raw(private) });
        })?;
        if !self.pinned {
            self.pinned = true;
            // SAFETY: The module is being loaded, so its count can be raised.
            unsafe { bindings::__module_get(version::this_module()) };
            pr_info!(
                "this kernel never lets a heap go again: the module stays until the next boot\n"
            );
        }
        Ok(Handle(handle))
    }
}

/// # Safety
///
/// For the dma-heap core: `heap` was added by [`Nodes::add`].
unsafe extern "C" fn allocate(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: u32,
    heap_flags: u64,
) -> *mut bindings::dma_buf {
    // SAFETY: The private data is the box that `add()` gave to the core for good.
    let heap = unsafe { &*c::dma_heap_get_drvdata(heap).cast::<Arc<dyn Heap>>() };
    match Request::new(size as u64, fd_flags, heap_flags)
        .and_then(|request| heap::allocate(&**heap, request))
    {
        Ok(buffer) => ARef::into_raw(buffer).cast().as_ptr(),
        Err(error) => error.to_ptr(),
    }
}
