// SPDX-License-Identifier: GPL-2.0

//! Paths of the file system.
//!
//! C header: [`include/linux/namei.h`](srctree/include/linux/namei.h)

use crate::bindings as c;
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    prelude::*, //
};

/// Whether there is something at `path`, as the calling task sees the file system. May sleep.
pub(crate) fn exists(path: &CStr) -> bool {
    let mut found = MaybeUninit::<bindings::path>::uninit();
    // SAFETY: The name is a C string, and `found` is valid for writing.
    if unsafe { c::kern_path(path.as_char_ptr(), 0, found.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: The call succeeded, so it has set `found` and taken a reference, which is given back
    // here.
    unsafe { bindings::path_put(found.as_ptr()) };
    true
}
