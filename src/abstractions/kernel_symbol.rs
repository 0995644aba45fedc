// SPDX-License-Identifier: GPL-2.0

//! The addresses of functions that the kernel has but does not export to modules.
//!
//! A kprobe can be set on any function by its name, and knows where it is. It is removed again at
//! once.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use crate::bindings as c;
use core::{
    ffi::c_void,
    mem,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Where the function `name` begins; `None` where the kernel has no such function or no kprobes.
/// May sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kernel_symbol;
///
/// assert!(kernel_symbol::address(c"dma_buf_export").is_some());
/// assert!(kernel_symbol::address(c"no_such_function").is_none());
/// ```
pub(crate) fn address(name: &'static CStr) -> Option<NonNull<c_void>> {
    // SAFETY: Zeros are a valid C structure: pointers and functions that are not there, and
    // numbers.
    let mut probe: c::kprobe = unsafe { mem::zeroed() };
    probe.symbol_name = name.as_char_ptr();
    let raw = &raw mut probe;
    // SAFETY: The probe is zeroed but for its name, as it has to be. It is not moved before it is
    // removed.
    unsafe {
        if c::register_kprobe(raw.cast()) != 0 {
            return None;
        }
        c::unregister_kprobe(raw.cast());
    }
    NonNull::new(probe.addr.cast())
}
