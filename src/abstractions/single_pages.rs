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

/// Allocates a zeroed page with `flags` for each element of `pages`, and writes it there.
///
/// Never triggers the OOM killer, unless the flags forbid a failure. May sleep if the flags permit
/// it. Fails with `ENOMEM`, and then writes null everywhere.
pub(crate) fn allocate(pages: &mut [*mut bindings::page], flags: bindings::gfp_t) -> Result {
    let mut flags = flags | c::GFP_ZERO | c::GFP_NOWARN;
    if flags & c::GFP_NOFAIL == 0 {
        flags |= c::GFP_RETRY_MAYFAIL;
    }
    pages.fill(ptr::null_mut());
    for page in pages.iter_mut() {
        // SAFETY: The call has no requirements.
        *page = unsafe { bindings::alloc_pages(flags, 0) };
        if page.is_null() {
            // SAFETY: The elements are null or were allocated above.
            unsafe { free(pages) };
            return Err(ENOMEM);
        }
    }
    Ok(())
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
