// SPDX-License-Identifier: GPL-2.0

//! The heaps: which memory they take, and within what limits. A heap is a file here and a row in [`create`].

mod system;

use crate::{heap::Heap, pages, parameters::Parameters};
use kernel::{prelude::*, sync::Arc};

/// Makes every heap that the machine can back.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn create(parameters: &Parameters) -> Result<KVec<Arc<dyn Heap>>> {
    let limit = parameters.share_of(pages::total_ram());
    let mut heaps: KVec<Arc<dyn Heap>> = KVec::new();
    for name in [c"system"] {
        heaps.push(Arc::new(system::SystemHeap::new(name, limit)?, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(heaps)
}
