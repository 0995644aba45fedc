// SPDX-License-Identifier: GPL-2.0

//! Lookup of file system paths.
//!
//! C header: [`include/linux/namei.h`](srctree/include/linux/namei.h)

use crate::bindings as c;
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    prelude::*, //
};

/// Returns whether `path` exists in the mount namespace and under the root of the calling task.
///
/// May sleep.
pub(crate) fn exists(path: &CStr) -> bool {
    let mut found = MaybeUninit::<bindings::path>::uninit();
    // SAFETY: The name is a C string, and `found` is valid for writing.
    if unsafe { c::kern_path(path.as_char_ptr(), 0, found.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: The call succeeded, so it initialised `found` and acquired a reference, which is
    // released here.
    unsafe { bindings::path_put(found.as_ptr()) };
    true
}
