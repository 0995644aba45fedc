// SPDX-License-Identifier: GPL-2.0

//! What the heaps have handed out.
//!
//! Each heap has an [`Account`]; each buffer holds an [`Entry`] in its heap's account. A buffer
//! enters by being made and leaves by being dropped, so nothing can be forgotten. The counters take
//! no lock.

use crate::trace;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// What one heap has handed out.
///
/// # Examples
///
/// ```
/// use crate::ledger::Account;
///
/// let account = Account::open(c"system")?;
/// let entry = Account::enter(&account, 4096);
/// assert_eq!((account.buffers(), account.bytes()), (1, 4096));
/// drop(entry);
/// assert_eq!((account.buffers(), account.bytes()), (0, 0));
/// ```
pub(crate) struct Account {
    heap: CString,
    buffers: Atomic<usize>,
    page_arrays: Atomic<usize>,
    bytes: Atomic<usize>,
}

impl Account {
    /// Opens an account for the heap named `heap`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn open(heap: &CStr) -> Result<Arc<Self>> {
        let account = Self {
            heap: CString::try_from(heap)?,
            buffers: Atomic::new(0),
            page_arrays: Atomic::new(0),
            bytes: Atomic::new(0),
        };
        Ok(Arc::new(account, GFP_KERNEL)?)
    }

    /// Enters a buffer of `bytes` bytes.
    pub(crate) fn enter(this: &Arc<Self>, bytes: usize) -> Entry {
        this.enter_kind(bytes, Kind::Buffer)
    }

    /// Enters a page array of `bytes` bytes.
    pub(crate) fn enter_pages(this: &Arc<Self>, bytes: usize) -> Entry {
        this.enter_kind(bytes, Kind::PageArray)
    }

    fn enter_kind(self: &Arc<Self>, bytes: usize, kind: Kind) -> Entry {
        trace::allocate(self.heap(), bytes);
        self.count(kind).fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        Entry {
            account: self.clone(),
            bytes,
            kind,
        }
    }

    fn count(&self, kind: Kind) -> &Atomic<usize> {
        match kind {
            Kind::Buffer => &self.buffers,
            Kind::PageArray => &self.page_arrays,
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

    /// The number of live page arrays.
    pub(crate) fn page_arrays(&self) -> usize {
        self.page_arrays.load(Relaxed)
    }

    /// The bytes of all live buffers and page arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

/// What can be handed out.
#[derive(Clone, Copy)]
enum Kind {
    Buffer,
    PageArray,
}

/// Something that a heap has handed out and not got back.
///
/// # Invariants
///
/// `bytes` are counted in `account`, as one thing of `kind`.
pub(crate) struct Entry {
    account: Arc<Account>,
    bytes: usize,
    kind: Kind,
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
        self.account.count(self.kind).fetch_sub(1, Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_ledger)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_counted() -> Result {
        let account = Account::open(c"kunit")?;
        let stats = || (account.buffers(), account.page_arrays(), account.bytes());
        assert_eq!(account.heap(), c"kunit");
        assert_eq!(stats(), (0, 0, 0));
        let small = Account::enter(&account, 4096);
        let large = Account::enter(&account, 1 << 20);
        let pages = Account::enter_pages(&account, 8192);
        assert_eq!(stats(), (2, 1, 4096 + (1 << 20) + 8192));
        drop(large);
        assert_eq!(stats(), (1, 1, 4096 + 8192));
        drop(pages);
        assert_eq!(stats(), (1, 0, 4096));
        assert_eq!(small.heap(), c"kunit");
        drop(small);
        assert_eq!(stats(), (0, 0, 0));
        Ok(())
    }
}
