// SPDX-License-Identifier: GPL-2.0

//! Accounting of what each heap has allocated.
//!
//! Each heap has an [`Account`]. Each buffer and each page array owns an [`Entry`] of its heap's
//! account, which is counted from its creation until it is dropped. The counters take no lock.

use crate::{
    abstractions::cache_cleaner::Cleaner,
    trace, //
};
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

/// The counters of one heap.
///
/// # Examples
///
/// ```
/// use crate::ledger::Account;
///
/// let account = Account::new(c"system")?;
/// let entry = Account::add_buffer(&account, 4096);
/// assert_eq!((account.buffers(), account.bytes()), (1, 4096));
/// drop(entry);
/// assert_eq!((account.buffers(), account.bytes()), (0, 0));
/// ```
pub(crate) struct Account {
    heap_name: CString,
    cleaner: Option<Arc<Cleaner>>,
    /// Whether there is a cleaner that is [effective](Cleaner::is_effective).
    is_cleaned: bool,
    buffers: Atomic<usize>,
    page_arrays: Atomic<usize>,
    bytes: Atomic<usize>,
    beyond_area: Atomic<usize>,
}

impl Account {
    /// Creates an empty account for the heap named `heap_name`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(heap_name: &CStr) -> Result<Arc<Self>> {
        Self::with_cleaner(heap_name, None)
    }

    /// Creates an account as [`Account::new`] does, for a heap whose buffers need maintenance of
    /// the CPU's caches. All of them share the cleaner of the account.
    pub(crate) fn with_cleaner(
        heap_name: &CStr,
        cleaner: Option<Arc<Cleaner>>,
    ) -> Result<Arc<Self>> {
        let account = Self {
            heap_name: CString::try_from(heap_name)?,
            is_cleaned: cleaner.as_deref().is_some_and(Cleaner::is_effective),
            cleaner,
            buffers: Atomic::new(0),
            page_arrays: Atomic::new(0),
            bytes: Atomic::new(0),
            beyond_area: Atomic::new(0),
        };
        Ok(Arc::new(account, GFP_KERNEL)?)
    }

    /// Counts a buffer of `bytes` bytes until the returned entry is dropped. Does not sleep.
    pub(crate) fn add_buffer(this: &Arc<Self>, bytes: usize) -> Entry {
        this.add(EntryType::Buffer, bytes)
    }

    /// Counts a page array of `bytes` bytes until the returned entry is dropped. Does not sleep.
    pub(crate) fn add_page_array(this: &Arc<Self>, bytes: usize) -> Entry {
        this.add(EntryType::PageArray, bytes)
    }

    fn add(self: &Arc<Self>, entry_type: EntryType, bytes: usize) -> Entry {
        trace::allocate(self.heap_name(), bytes);
        self.counter(entry_type).fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        // INVARIANT: Counted above.
        Entry {
            account: self.clone(),
            entry_type,
            bytes,
            is_beyond_area: false,
        }
    }

    fn counter(&self, entry_type: EntryType) -> &Atomic<usize> {
        match entry_type {
            EntryType::Buffer => &self.buffers,
            EntryType::PageArray => &self.page_arrays,
        }
    }

    /// Returns the name of the heap.
    pub(crate) fn heap_name(&self) -> &CStr {
        &self.heap_name
    }

    /// Returns the device for maintenance of the CPU's caches, if the heap has one.
    #[inline]
    pub(crate) fn cleaner(&self) -> Option<&Cleaner> {
        self.cleaner.as_deref()
    }

    /// Returns the number of live buffers.
    pub(crate) fn buffers(&self) -> usize {
        self.buffers.load(Relaxed)
    }

    /// Returns the number of live page arrays.
    pub(crate) fn page_arrays(&self) -> usize {
        self.page_arrays.load(Relaxed)
    }

    /// Returns the size of all live buffers and page arrays, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Returns the part of [`Account::bytes`] that a contiguous heap has taken from RAM because its
    /// area had no place.
    pub(crate) fn bytes_beyond_area(&self) -> usize {
        self.beyond_area.load(Relaxed)
    }
}

/// What an [`Entry`] counts.
#[derive(Clone, Copy)]
enum EntryType {
    Buffer,
    PageArray,
}

/// A live buffer or page array of an [`Account`].
///
/// # Invariants
///
/// `account` counts `bytes` bytes and one object of `entry_type` for this entry. If
/// `is_beyond_area` is true, it counts the bytes as beyond the area too.
#[must_use = "the account counts an entry until it is dropped"]
pub(crate) struct Entry {
    account: Arc<Account>,
    entry_type: EntryType,
    is_beyond_area: bool,
    bytes: usize,
}

impl Entry {
    /// Counts the memory as beyond the area of the heap. Does not sleep.
    pub(crate) fn count_beyond_area(&mut self) {
        if !self.is_beyond_area {
            self.account.beyond_area.fetch_add(self.bytes, Relaxed);
            // INVARIANT: Counted above.
            self.is_beyond_area = true;
        }
    }

    /// Returns the name of the heap.
    pub(crate) fn heap_name(&self) -> &CStr {
        self.account.heap_name()
    }

    /// Returns the device for maintenance of the CPU's caches, if the heap has one.
    #[inline]
    pub(crate) fn cleaner(&self) -> Option<&Cleaner> {
        self.account.cleaner()
    }

    /// Returns whether there is such a device, and some devices may see the effect of the
    /// maintenance.
    #[inline]
    pub(crate) fn is_cleaned(&self) -> bool {
        self.account.is_cleaned
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        trace::free(self.heap_name(), self.bytes);
        self.account.counter(self.entry_type).fetch_sub(1, Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Relaxed);
        if self.is_beyond_area {
            self.account.beyond_area.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_ledger)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_counted() -> Result {
        let account = Account::new(c"kunit")?;
        let stats = || (account.buffers(), account.page_arrays(), account.bytes());
        assert_eq!(account.heap_name(), c"kunit");
        assert_eq!(stats(), (0, 0, 0));
        let small = Account::add_buffer(&account, 4096);
        let large = Account::add_buffer(&account, 1 << 20);
        let mut pages = Account::add_page_array(&account, 8192);
        assert_eq!(stats(), (2, 1, 4096 + (1 << 20) + 8192));
        assert_eq!(account.bytes_beyond_area(), 0);
        pages.count_beyond_area();
        pages.count_beyond_area();
        assert_eq!(account.bytes_beyond_area(), 8192);
        drop(large);
        assert_eq!(stats(), (1, 1, 4096 + 8192));
        drop(pages);
        assert_eq!(stats(), (1, 0, 4096));
        assert_eq!(account.bytes_beyond_area(), 0);
        assert_eq!(small.heap_name(), c"kunit");
        drop(small);
        assert_eq!(stats(), (0, 0, 0));
        Ok(())
    }
}
