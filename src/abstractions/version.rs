// SPDX-License-Identifier: GPL-2.0

//! Differences between kernels 7.2 and 7.3. Code that depends on the version is in this file only.

use core::borrow::Borrow;
use kernel::{
    bindings,
    device::Device,
    faux, //
};

extern "C" {
    /// The first byte of the `struct module` that the kernel's build system defines in each module.
    static __this_module: u8;
}

/// Returns `THIS_MODULE`. The `kernel` crate has no accessor for it that exists in both versions.
pub(crate) const fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

/// Returns the value of a module parameter, which kernel 7.2 passes by reference and 7.3 by value.
pub(crate) fn parameter<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}

/// Returns the C structure of a faux device, which kernel 7.3 wraps in one more type than 7.2.
pub(crate) fn faux_device(registration: &faux::Registration) -> *mut bindings::device {
    #[cfg(kernel_7_3)]
    let device: &Device<_> = registration.as_ref().as_ref();
    #[cfg(not(kernel_7_3))]
    let device: &Device = registration.as_ref();
    // CAST: `Device` is a transparent wrapper of the C structure, which has interior mutability.
    core::ptr::from_ref(device).cast_mut().cast()
}
