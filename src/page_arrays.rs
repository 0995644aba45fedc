// SPDX-License-Identifier: GPL-2.0

//! Page arrays: contiguous pages that drivers have allocated without a dma-buf.
//!
//! # Locks
//!
//! [`PageArrays::arrays`] is a mutex. Ranges are allocated and released with it not held.

use crate::{
    abstractions::cma::{
        Area,
        Purpose, //
    },
    decisions::segment::Segment,
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

/// The page arrays of one heap.
///
/// # Invariants
///
/// Every element of `arrays` is a prepared range of its area, or of RAM without one, whose
/// ownership was given up with `HeapRange::into_raw`.
#[pin_data(PinnedDrop)]
pub(crate) struct PageArrays {
    ranges: Arc<RangeCache>,
    account: Arc<Account>,
    next_sequence: Atomic<u64>,
    #[pin]
    arrays: Mutex<RBTree<usize, PageArray>>,
}

/// One page array.
struct PageArray {
    pages: usize,
    area: Option<Area>,
    purpose: Purpose,
    /// The number of arrays allocated before this one.
    sequence: u64,
    owner: CString,
    _entry: Entry,
}

/// A description of a page array.
pub(crate) struct PageArrayInfo {
    /// The pages.
    pub(crate) segment: Segment,
    /// The name given by the driver, or that of the allocating thread.
    pub(crate) owner: CString,
}

impl PageArrays {
    /// Creates an empty set. Its arrays are counted in `account`.
    pub(crate) fn new(ranges: Arc<RangeCache>, account: Arc<Account>) -> impl PinInit<Self> {
        pin_init!(Self {
            ranges,
            account,
            next_sequence: Atomic::new(0),
            arrays <- new_mutex!(RBTree::new()),
        })
    }

    /// Inserts `range` of `pages` pages, allocated by `owner`, and returns its segment.
    ///
    /// May sleep. Fails with `ENOMEM` and then releases the range.
    pub(crate) fn insert(&self, range: HeapRange, pages: usize, owner: CString) -> Result<Segment> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut entry = Account::add_page_array(&self.account, pages << PAGE_SHIFT);
        let (area, purpose) = (range.area(), range.purpose());
        if area.is_none() {
            entry.count_beyond_area();
        }
        // INVARIANT: The ownership of the range is given up here.
        let segment = range.into_raw();
        self.arrays.lock().insert(node.into_node(
            segment.pfn,
            PageArray {
                pages,
                area,
                purpose,
                sequence: self.next_sequence.fetch_add(1, Relaxed),
                owner,
                _entry: entry,
            },
        ));
        Ok(segment)
    }

    /// Returns all arrays by their sequence number, oldest first. May sleep. Fails with `ENOMEM`.
    pub(crate) fn list(&self) -> Result<RBTree<u64, PageArrayInfo>> {
        let mut list = RBTree::new();
        for (pfn, array) in self.arrays.lock().iter() {
            let info = PageArrayInfo {
                segment: Segment {
                    pfn: *pfn,
                    pages: array.pages,
                },
                owner: CString::try_from(&*array.owner)?,
            };
            list.try_create_and_insert(array.sequence, info, GFP_KERNEL)?;
        }
        Ok(list)
    }

    /// Removes and frees the array of `pages` pages that begins at `pfn`.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, if there is no such array.
    pub(crate) fn remove(&self, pfn: usize, pages: usize) -> Result {
        let mut arrays = self.arrays.lock();
        if arrays.get(&pfn).is_none_or(|array| array.pages != pages) {
            return Err(EINVAL);
        }
        let array = arrays.remove(&pfn).ok_or(EINVAL)?;
        drop(arrays);
        let segment = Segment { pfn, pages };
        // SAFETY: By the type's invariant the removed element is a range of this area, or of RAM,
        // whose ownership was given up.
        drop(unsafe { HeapRange::from_raw(&self.ranges, array.area, segment, array.purpose) });
        Ok(())
    }
}

#[pinned_drop]
impl PinnedDrop for PageArrays {
    fn drop(self: Pin<&mut Self>) {
        let left = self.arrays.lock().iter().count();
        if left > 0 {
            // A device may still access them.
            pr_warn!(
                "heap {}: {} page arrays are lost until the next boot, their drivers have gone \
                 without freeing them\n",
                self.account.heap_name(),
                left
            );
        }
    }
}
