// SPDX-License-Identifier: GPL-2.0

//! Where kernels 7.2 and 7.3 differ: all of it is here.

use core::borrow::Borrow;
use kernel::{
    bindings,
    device::Device,
    faux, //
};

extern "C" {
    /// The first byte of the `struct module` that the kernel's build system makes for every module.
    static __this_module: u8;
}

/// This module, as `THIS_MODULE` in C. The way to it through the `kernel` crate is not the same in
/// all versions.
pub(crate) const fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

/// The value of a load parameter: kernel 7.2 lends it, 7.3 copies it.
pub(crate) fn parameter<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}

/// The C structure of a faux device: kernel 7.3 has a type for the device in between.
pub(crate) fn faux_device(registration: &faux::Registration) -> *mut bindings::device {
    #[cfg(kernel_7_3)]
    let device: &Device<_> = registration.as_ref().as_ref();
    #[cfg(not(kernel_7_3))]
    let device: &Device = registration.as_ref();
    // A `Device` is nothing but the C structure, and may be changed through a shared reference.
    core::ptr::from_ref(device).cast_mut().cast()
}
