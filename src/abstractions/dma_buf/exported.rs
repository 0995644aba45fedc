// SPDX-License-Identifier: GPL-2.0

//! dma-bufs while they are exported.

use super::{
    copy_name,
    DmaBuf, //
};
use kernel::{
    bindings,
    prelude::*,
    types::NotThreadSafe, //
};

/// A dma-buf that is being exported, with its name lock held.
///
/// # Invariants
///
/// The name lock of `dma_buf` is held for `'a`.
pub(crate) struct Exported<'a> {
    dma_buf: &'a DmaBuf,
    /// The lock was acquired by the current thread.
    _not_send: NotThreadSafe,
}

impl<'a> Exported<'a> {
    /// # Safety
    ///
    /// As for [`DmaBuf::from_raw`]. The current thread must hold the name lock for `'a`.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::dma_buf) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: By the safety requirements.
            dma_buf: unsafe { DmaBuf::from_raw(raw) },
            _not_send: NotThreadSafe,
        }
    }

    /// Returns the dma-buf. Functions that acquire the name lock would deadlock, as it is held.
    pub(crate) fn dma_buf(&self) -> &DmaBuf {
        self.dma_buf
    }

    /// Sets the name, truncated to [`NAME_LEN`]` - 1` bytes, unless the dma-buf has one. Does not
    /// sleep. Fails with `ENOMEM`.
    pub(crate) fn set_default_name(&self, name: &[u8]) -> Result {
        let raw = self.dma_buf.as_raw();
        // SAFETY: By the type invariants the dma-buf is valid and the lock that protects its name
        // is held.
        unsafe {
            if (*raw).name.is_null() {
                (*raw).name = copy_name(name, bindings::GFP_ATOMIC)?;
            }
        }
        Ok(())
    }
}
