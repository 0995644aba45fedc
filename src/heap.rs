// SPDX-License-Identifier: GPL-2.0

//! What a heap is, and how a request for a buffer reaches it.

use crate::{dma_buf::DmaBuf, ledger::Account, page_pool::Figures};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// A source of dma-bufs that userspace finds by its name.
pub(crate) trait Heap: Send + Sync {
    /// The account of what the heap has handed out; it also knows the heap's name.
    fn account(&self) -> &Arc<Account>;

    /// What the heap's page pool holds and did, if it has one.
    fn pool(&self) -> Option<Figures>;

    /// Allocates a buffer.
    ///
    /// May sleep. Fails with `ENOMEM` where there is no memory or the heap could never give that much, and with `EINTR`
    /// where a fatal signal came first.
    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>>;
}

/// A request for a buffer, checked.
///
/// # Invariants
///
/// `size` is a whole number of pages and not 0; `flags` are a dma-buf's file flags and nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    size: usize,
    flags: u32,
}

impl Request {
    /// Checks what came from outside: `size` in bytes is rounded up to whole pages.
    ///
    /// Fails with `EINVAL` where the size is 0 or wraps when it is rounded, and where a flag is not known: `fd_flags` may
    /// be `O_CLOEXEC` and an access mode, `heap_flags` must be 0. Fails with `ENOMEM` where a 32-bit kernel could not even
    /// count the bytes.
    pub(crate) fn new(size: u64, fd_flags: u32, heap_flags: u64) -> Result<Self> {
        if fd_flags & !(bindings::O_CLOEXEC | bindings::O_ACCMODE) != 0 || heap_flags != 0 {
            return Err(EINVAL);
        }
        let size = size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        if size == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Rounded, not 0, and the flags were checked above.
        Ok(Self {
            size: usize::try_from(size).map_err(|_| ENOMEM)?,
            flags: fd_flags,
        })
    }

    /// The size in bytes: whole pages, not 0.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The flags for the file and its descriptor.
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }
}
