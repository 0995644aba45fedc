// SPDX-License-Identifier: GPL-2.0

//! Arrays of single pages from the buddy allocator, for drivers.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

use crate::bindings as c;
use core::ptr;
use kernel::{
    bindings,
    prelude::*, //
};

/// The number of pages that are allocated between two checks.
const BATCH: usize = 256;

/// Returns whether an allocation with `flags` may sleep for reclaim, and may fail.
pub(crate) fn reclaims_and_may_fail(flags: bindings::gfp_t) -> bool {
    flags & c::GFP_DIRECT_RECLAIM != 0 && flags & c::GFP_NOFAIL == 0
}

/// Allocates a zeroed page with `flags` for each element of `pages`, and writes it there. Calls
/// `check` after each 256 pages and at the end.
///
/// Never triggers the OOM killer, unless the flags forbid a failure. May sleep if the flags permit
/// it. Fails with `ENOMEM` and as `check` does, and then writes null everywhere.
pub(crate) fn allocate(
    pages: &mut [*mut bindings::page],
    flags: bindings::gfp_t,
    mut check: impl FnMut() -> Result,
) -> Result {
    let mut flags = flags | c::GFP_ZERO | c::GFP_NOWARN;
    if flags & c::GFP_NOFAIL == 0 {
        flags |= c::GFP_RETRY_MAYFAIL;
    }
    pages.fill(ptr::null_mut());
    let mut allocate_all = || -> Result {
        for batch in pages.chunks_mut(BATCH) {
            for page in batch {
                // SAFETY: The call has no requirements.
                *page = unsafe { bindings::alloc_pages(flags, 0) };
                if page.is_null() {
                    return Err(ENOMEM);
                }
            }
            check()?;
        }
        Ok(())
    };
    let result = allocate_all();
    if result.is_err() {
        // SAFETY: The elements are null or were allocated above.
        unsafe { free(pages) };
    }
    result
}

/// Frees each page of `pages`, and writes null there. Null is ignored. Does not sleep.
///
/// # Safety
///
/// Each element must be null or a page that the caller owns.
pub(crate) unsafe fn free(pages: &mut [*mut bindings::page]) {
    for page in pages {
        let page = core::mem::replace(page, ptr::null_mut());
        if !page.is_null() {
            // SAFETY: The caller owns the page.
            unsafe { bindings::__free_pages(page, 0) };
        }
    }
}
