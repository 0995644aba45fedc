// SPDX-License-Identifier: GPL-2.0

//! The files under `/proc/rk_dma_heap`. They print what the ledger says and keep nothing themselves.

mod heaps;

use crate::{heap::Heap, proc_file::Directory};
use kernel::{prelude::*, sync::Arc};

/// Makes the folder and its files, over these heaps.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn create(heaps: KVec<Arc<dyn Heap>>) -> Result<Directory> {
    let mut directory = Directory::new(c"rk_dma_heap")?;
    directory.add(
        c"heaps",
        0o444,
        Arc::new(heaps::Heaps::new(heaps), GFP_KERNEL)?,
    )?;
    Ok(directory)
}
