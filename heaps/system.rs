// SPDX-License-Identifier: GPL-2.0

//! The `system` heap: pages of the buddy allocator, cached, not contiguous.

use crate::{
    buffer,
    dma_buf::DmaBuf,
    heap::{Heap, Request},
    ledger::Account,
    pages::{Effort, PageRun, RunList},
    signal,
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// The orders that are tried, largest first: 1 MiB, 64 KiB and one page, with 4 KiB pages. These are sizes that IOMMUs map
/// with one entry or with few.
const ORDERS: [u32; 3] = [8, 4, 0];

/// A heap of pages from the buddy allocator.
pub(crate) struct SystemHeap {
    account: Arc<Account>,
    limit: usize,
}

impl SystemHeap {
    /// A heap named `name` that gives out at most `limit` pages at a time.
    pub(crate) fn new(name: &CStr, limit: usize) -> Result<Self> {
        Ok(Self { account: Account::open(name)?, limit })
    }
}

impl Heap for SystemHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if pages > self.limit {
            return Err(ENOMEM);
        }
        let memory = collect(pages)?;
        let entry = Account::enter(&self.account, request.size());
        buffer::export(memory, entry, request.flags())
    }
}

/// Collects `pages` pages in runs as large as there are.
fn collect(pages: usize) -> Result<RunList> {
    let mut runs = RunList::new();
    // An order that has run out is not tried again for this buffer.
    let mut largest = 0;
    while runs.pages() < pages {
        if signal::fatal_pending() {
            return Err(EINTR);
        }
        let (index, run) = largest_run(pages - runs.pages(), largest).ok_or(ENOMEM)?;
        largest = index;
        runs.push(run);
    }
    Ok(runs)
}

/// Allocates a run of at most `pages` pages of the largest order from `ORDERS[from..]` that can be had; returns it with the
/// index of its order.
fn largest_run(pages: usize, from: usize) -> Option<(usize, PageRun)> {
    ORDERS.iter().enumerate().skip(from).filter(|(_, order)| pages >> **order > 0).find_map(|(index, order)| {
        let effort = if *order == 0 { Effort::Full } else { Effort::Opportunistic };
        PageRun::allocate(*order, effort).map(|run| (index, run))
    })
}
