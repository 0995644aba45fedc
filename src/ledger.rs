// SPDX-License-Identifier: GPL-2.0

//! What the heaps have handed out.
//!
//! Each heap has an [`Account`]; each buffer holds an [`Entry`] in its heap's account. A buffer enters by being made and
//! leaves by being dropped, so nothing can be forgotten. The counters take no lock.

use crate::trace;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// What one heap has handed out.
pub(crate) struct Account {
    heap: CString,
    buffers: Atomic<usize>,
    bytes: Atomic<usize>,
}

impl Account {
    /// Opens an account for the heap named `heap`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn open(heap: &CStr) -> Result<Arc<Self>> {
        let account = Self {
            heap: CString::try_from(heap)?,
            buffers: Atomic::new(0),
            bytes: Atomic::new(0),
        };
        Ok(Arc::new(account, GFP_KERNEL)?)
    }

    /// Enters something of `bytes` bytes.
    pub(crate) fn enter(this: &Arc<Self>, bytes: usize) -> Entry {
        trace::allocate(this.heap(), bytes);
        this.buffers.fetch_add(1, Relaxed);
        this.bytes.fetch_add(bytes, Relaxed);
        Entry {
            account: this.clone(),
            bytes,
        }
    }

    /// The heap's name.
    pub(crate) fn heap(&self) -> &CStr {
        &self.heap
    }

    /// The number of live buffers.
    pub(crate) fn buffers(&self) -> usize {
        self.buffers.load(Relaxed)
    }

    /// The bytes of all live buffers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

/// Something that a heap has handed out and not got back.
///
/// # Invariants
///
/// `bytes` are counted in `account`, as one buffer.
pub(crate) struct Entry {
    account: Arc<Account>,
    bytes: usize,
}

impl Entry {
    /// The name of the heap.
    pub(crate) fn heap(&self) -> &CStr {
        self.account.heap()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        trace::free(self.heap(), self.bytes);
        self.account.buffers.fetch_sub(1, Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
