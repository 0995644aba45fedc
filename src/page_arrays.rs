// SPDX-License-Identifier: GPL-2.0

//! Contiguous pages that are no dma-buf: what drivers have allocated as plain pages, and who did.

use crate::{
    cma::{Area, ReadyRange},
    ledger::{Account, Entry},
    memory::Segment,
};
use kernel::{
    new_mutex,
    page::PAGE_SHIFT,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    str::CString,
    sync::{Arc, Mutex},
};

/// The page arrays of one area.
///
/// # Invariants
///
/// Every entry is a range of `area` that was made ready, given up with `ReadyRange::into_raw`, and not taken back.
#[pin_data]
pub(crate) struct PageArrays {
    area: Area,
    account: Arc<Account>,
    #[pin]
    arrays: Mutex<RBTree<usize, PageArray>>,
}

/// One page array.
struct PageArray {
    pages: usize,
    _name: CString,
    _entry: Entry,
}

impl PageArrays {
    /// No arrays, of `area`. They will be counted in `account`.
    pub(crate) fn new(area: Area, account: Arc<Account>) -> impl PinInit<Self> {
        pin_init!(Self { area, account, arrays <- new_mutex!(RBTree::new()) })
    }

    /// Enters `range`, allocated by `name`, and returns its segment.
    ///
    /// May sleep. Fails with `ENOMEM`; the range is given back then.
    pub(crate) fn enter(&self, range: ReadyRange, pages: usize, name: CString) -> Result<Segment> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let entry = Account::enter_pages(&self.account, pages << PAGE_SHIFT);
        // INVARIANT: The range is given up and entered.
        let segment = range.into_raw();
        self.arrays.lock().insert(node.into_node(
            segment.frame,
            PageArray {
                pages,
                _name: name,
                _entry: entry,
            },
        ));
        Ok(segment)
    }

    /// Takes back the array that begins with page frame `frame` and has `pages` pages.
    ///
    /// May sleep. Fails with `EINVAL`, and changes nothing, where there is no such array.
    pub(crate) fn leave(&self, frame: usize, pages: usize) -> Result {
        let mut arrays = self.arrays.lock();
        if arrays.get(&frame).is_none_or(|array| array.pages != pages) {
            return Err(EINVAL);
        }
        let array = arrays.remove(&frame);
        drop(arrays);
        // SAFETY: By the type's invariant the entry that was just removed was a range of the area.
        drop(unsafe { ReadyRange::from_raw(self.area, Segment { frame, pages }) });
        drop(array);
        Ok(())
    }
}
