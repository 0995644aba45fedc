// SPDX-License-Identifier: GPL-2.0

//! The heaps of carveouts: `no-map` regions that the device tree opts in.

use crate::{
    abstractions::dma_buf::DmaBuf,
    buffer,
    carveout::Carveout,
    decisions::request::Request,
    heap::Heap,
    ledger::Account,
    page_pool::PoolStats, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A heap over one carveout.
pub(crate) struct CarveoutHeap {
    account: Arc<Account>,
    carveout: Arc<Carveout>,
}

impl CarveoutHeap {
    /// Creates a heap named `name` over `carveout`. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new(name: &CStr, carveout: Arc<Carveout>) -> Result<Self> {
        Ok(Self {
            account: Account::new(name)?,
            carveout,
        })
    }
}

impl Heap for CarveoutHeap {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pool_stats(&self) -> Option<PoolStats> {
        None
    }

    fn allocate(&self, request: Request) -> Result<ARef<DmaBuf>> {
        let pages = request.size() >> PAGE_SHIFT;
        if pages > self.carveout.pages() {
            return Err(ENOMEM);
        }
        let memory = self.carveout.allocate(pages);
        buffer::export(memory, &self.account, request)
    }
}
