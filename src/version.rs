// SPDX-License-Identifier: GPL-2.0

//! Where kernels 7.2 and 7.3 differ: all of it is here.

use core::borrow::Borrow;
use kernel::bindings;

extern "C" {
    /// The first byte of the `struct module` that the kernel's build system makes for every module.
    static __this_module: u8;
}

/// This module, as `THIS_MODULE` in C. The way to it through the `kernel` crate is not the same in all versions.
pub(crate) const fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

/// The value of a load parameter: kernel 7.2 lends it, 7.3 copies it.
pub(crate) fn parameter<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}
