// SPDX-License-Identifier: GPL-2.0

//! References that are released synchronously.

use super::DmaBuf;
use crate::bindings as c;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::bindings;

/// A temporary reference to a dma-buf that releases it synchronously if it is the last one.
///
/// An [`ARef`] that is dropped in a system call releases the dma-buf when the call returns. A call
/// that visits many dma-bufs would keep all those alive whose other references are dropped
/// meanwhile.
///
/// # Invariants
///
/// `dma_buf` is valid, and this value owns a reference to its file.
#[must_use]
pub(crate) struct ActiveRef {
    dma_buf: NonNull<DmaBuf>,
}

impl ActiveRef {
    /// Acquires a reference to the file of the dma-buf at `raw`, whose inode is `inode`. Does not
    /// sleep. Returns `None` if the file has no references left.
    ///
    /// # Safety
    ///
    /// The dma-buf and its inode must be valid during the call.
    pub(super) unsafe fn new(
        raw: NonNull<bindings::dma_buf>,
        inode: *const bindings::inode,
    ) -> Option<Self> {
        // SAFETY: By the safety requirements.
        let file = unsafe { c::get_dma_buf_file(raw.as_ptr(), inode) };
        // INVARIANT: The call returns a reference to the file, which keeps the dma-buf valid, or
        // null.
        (!file.is_null()).then(|| Self {
            dma_buf: raw.cast(),
        })
    }
}

impl Deref for ActiveRef {
    type Target = DmaBuf;

    fn deref(&self) -> &DmaBuf {
        // SAFETY: By the type invariants the dma-buf is valid, and its reference count is not zero.
        unsafe { self.dma_buf.as_ref() }
    }
}

impl Drop for ActiveRef {
    /// May sleep. The caller must not hold a lock that an exporter acquires to release a dma-buf.
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference to the file.
        unsafe { c::__fput_sync((*self.as_raw()).file) };
    }
}

// SAFETY: A reference to a dma-buf may be dropped by any thread.
unsafe impl Send for ActiveRef {}
