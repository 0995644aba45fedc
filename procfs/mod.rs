// SPDX-License-Identifier: GPL-2.0

//! The files under `/proc/rk_dma_heap`. They print what the ledger says and keep nothing themselves.

mod heaps;

use crate::proc_file::Directory;
use kernel::{prelude::*, sync::Arc};

/// Makes the folder and its files.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn create() -> Result<Directory> {
    let mut directory = Directory::new(c"rk_dma_heap")?;
    directory.add(c"heaps", 0o444, Arc::new(heaps::Heaps, GFP_KERNEL)?)?;
    Ok(directory)
}
