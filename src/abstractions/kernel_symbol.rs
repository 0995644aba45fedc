// SPDX-License-Identifier: GPL-2.0

//! Addresses of kernel functions that are not exported to modules.
//!
//! The kernel resolves the symbol name of a kprobe when the kprobe is registered. [`lookup`] reads
//! the address from such a kprobe and unregisters it immediately.
//!
//! On x86 the address is that of the instruction behind the function's `endbr64`, so a call through
//! a pointer to it would end in an exception. `src/found_functions.c` has a static call for each
//! function, which takes the address.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use crate::bindings as c;
use core::{
    ffi::c_void,
    mem,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Returns the address at which a direct call enters the function `name`, or `None` if the kernel
/// has no such function or no kprobes. A call through a pointer must not use it.
///
/// May sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kernel_symbol;
///
/// assert!(kernel_symbol::lookup(c"dma_buf_export").is_some());
/// assert!(kernel_symbol::lookup(c"no_such_function").is_none());
/// ```
pub(crate) fn lookup(name: &'static CStr) -> Option<NonNull<c_void>> {
    // SAFETY: The C structure consists of integers, raw pointers and optional function pointers,
    // all of which may be zero.
    let mut probe: c::kprobe = unsafe { mem::zeroed() };
    probe.symbol_name = name.as_char_ptr();
    // The kernel does not modify the function.
    probe.flags = c::KPROBE_FLAG_DISABLED;
    let raw = &raw mut probe;
    // SAFETY: All fields except the name and the flags are zero, as registration requires. The
    // kprobe is not moved before it is unregistered.
    unsafe {
        if c::register_kprobe(raw.cast()) != 0 {
            return None;
        }
        c::unregister_kprobe(raw.cast());
    }
    NonNull::new(probe.addr.cast())
}
