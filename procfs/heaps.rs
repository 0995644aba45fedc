// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: one line a heap, with what it has handed out.
//!
//! The first line names the columns. Columns are separated by spaces and never change their names; new ones are added at
//! the end. Sizes are in KiB.

use crate::{ledger::Account, proc_file::Show};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::Arc,
};

/// The file's content.
pub(crate) struct Heaps {
    accounts: KVec<Arc<Account>>,
}

impl Heaps {
    /// Over these heaps.
    pub(crate) fn new(accounts: KVec<Arc<Account>>) -> Self {
        Self { accounts }
    }
}

impl Show for Heaps {
    fn show(&self, file: &SeqFile) -> Result {
        seq_print!(file, "{:<24} {:>8} {:>12}\n", "heap", "buffers", "allocated");
        for account in &self.accounts {
            let name = account.heap().to_str().unwrap_or("?");
            seq_print!(file, "{:<24} {:>8} {:>12}\n", name, account.buffers(), account.bytes() / 1024);
        }
        Ok(())
    }
}
