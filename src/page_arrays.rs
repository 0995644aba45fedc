// SPDX-License-Identifier: GPL-2.0

//! Contiguous pages that are no dma-buf: what drivers have allocated as plain pages, and who did.

use crate::{
    abstractions::cma::Area,
    decisions::{
        memory::{
            Caching,
            Memory, //
        },
        segment::Segment, //
    },
    ledger::{
        Account,
        Entry, //
    },
    range_cache::{
        HeapRange,
        RangeCache, //
    }, //
};
use kernel::{
    new_mutex,
    page::PAGE_SHIFT,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The page arrays of one area.
///
/// # Invariants
///
/// Every entry is a range of `area` that was made ready, given up with `HeapRange::into_raw`, and
/// not taken back.
#[pin_data]
pub(crate) struct PageArrays {
    area: Area,
    ranges: Arc<RangeCache>,
    account: Arc<Account>,
    count: Atomic<u64>,
    #[pin]
    arrays: Mutex<RBTree<usize, PageArray>>,
}

/// One page array.
struct PageArray {
    pages: usize,
    caching: Caching,
    /// How many arrays there were before it.
    number: u64,
    name: CString,
    _entry: Entry,
}

/// What a list says of an array.
pub(crate) struct Listed {
    /// Where it lies.
    pub(crate) segment: Segment,
    /// Who allocated it.
    pub(crate) name: CString,
}

impl PageArrays {
    /// No arrays, of `area`. They will be counted in `account`.
    pub(crate) fn new(
        area: Area,
        ranges: Arc<RangeCache>,
        account: Arc<Account>,
    ) -> impl PinInit<Self> {
        pin_init!(Self { area, ranges, account, count: Atomic::new(0), arrays <- new_mutex!(RBTree::new()) })
    }

    /// Enters `range`, allocated by `name`, and returns its segment.
    ///
    /// May sleep. Fails with `ENOMEM`; the range is given back then.
    pub(crate) fn enter(&self, range: HeapRange, pages: usize, name: CString) -> Result<Segment> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let entry = Account::enter_pages(&self.account, pages << PAGE_SHIFT);
        let caching = range.caching();
        // INVARIANT: The range is given up and entered.
        let segment = range.into_raw();
        self.arrays.lock().insert(node.into_node(
            segment.pfn,
            PageArray {
                pages,
                caching,
                number: self.count.fetch_add(1, Relaxed),
                name,
                _entry: entry,
            },
        ));
        Ok(segment)
    }

    /// All arrays, oldest first: by how many there were before. May sleep. Fails with `ENOMEM`.
    pub(crate) fn list(&self) -> Result<RBTree<u64, Listed>> {
        let mut list = RBTree::new();
        for (pfn, array) in self.arrays.lock().iter() {
            let listed = Listed {
                segment: Segment {
                    pfn: *pfn,
                    pages: array.pages,
                },
                name: CString::try_from(&*array.name)?,
            };
            list.try_create_and_insert(array.number, listed, GFP_KERNEL)?;
        }
        Ok(list)
    }

    /// Takes back the array that begins with page frame `pfn` and has `pages` pages.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, where there is no such array.
    pub(crate) fn leave(&self, pfn: usize, pages: usize) -> Result {
        let mut arrays = self.arrays.lock();
        if arrays.get(&pfn).is_none_or(|array| array.pages != pages) {
            return Err(EINVAL);
        }
        let array = arrays.remove(&pfn).ok_or(EINVAL)?;
        drop(arrays);
        let segment = Segment { pfn, pages };
        // SAFETY: By the type's invariant the entry that was just removed was a range of the area.
        drop(unsafe {
            self.ranges
                .range_from_raw(self.area, segment, array.caching)
        });
        Ok(())
    }
}
