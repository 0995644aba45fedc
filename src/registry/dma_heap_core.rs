// SPDX-License-Identifier: GPL-2.0

//! The nodes of `/dev/dma_heap` on a kernel with `CONFIG_DMABUF_HEAPS`: those of its dma-heap core.
//!
//! The core cannot remove a heap, so the module pins itself when it adds the first one.
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
    heap::Heap, //
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

/// The operations of all added heaps.
static OPERATIONS: c::dma_heap_ops = c::dma_heap_ops {
    allocate: Some(allocate),
};

/// The nodes, which the core owns.
pub(crate) struct Nodes {
    pinned: bool,
}

impl Nodes {
    /// Creates an empty set. Never fails.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { pinned: false })
    }

    /// Adds `heap` to the core permanently.
    ///
    /// May sleep. Fails with `EEXIST` if another heap has its name, and as `dma_heap_add()` does.
    pub(crate) fn add(&mut self, heap: &Arc<dyn Heap>) -> Result<Handle> {
        let name = heap.account().heap_name();
        // The core checks for a duplicate name only after it has created the device, for which the
        // driver core prints a warning.
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
        // SAFETY: The name belongs to the heap's account, which `private` keeps alive. The core
        // keeps both pointers permanently, and the module is never unloaded from here on.
        let handle = from_err_ptr(unsafe { c::dma_heap_add(&info) }).inspect_err(|_| {
            // SAFETY: The core has not taken the pointer of this box.
            drop(unsafe { KBox::from_raw(private) });
        })?;
        if !self.pinned {
            self.pinned = true;
            // SAFETY: The module is being loaded, so its reference count can be incremented.
            unsafe { bindings::__module_get(version::this_module()) };
            pr_info!(
                "this kernel cannot remove heaps: the module stays loaded until the next boot\n"
            );
        }
        Ok(Handle(handle))
    }
}

/// # Safety
///
/// Only the dma-heap core may call this, with a heap that [`Nodes::add`] has added.
unsafe extern "C" fn allocate(
    heap: *mut c::dma_heap,
    size: usize,
    fd_flags: u32,
    heap_flags: u64,
) -> *mut bindings::dma_buf {
    // SAFETY: The private data is the box that `add()` has passed to the core permanently.
    let heap = unsafe { &*c::dma_heap_get_drvdata(heap).cast::<Arc<dyn Heap>>() };
    match Request::new(size as u64, fd_flags, heap_flags).and_then(|request| heap.allocate(request))
    {
        Ok(buffer) => ARef::into_raw(buffer).cast().as_ptr(),
        Err(error) => error.to_ptr(),
    }
}
