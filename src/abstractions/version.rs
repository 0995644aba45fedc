// SPDX-License-Identifier: GPL-2.0

//! Differences between kernels 7.2 and 7.3. Code that depends on the version is in this file only.

use core::borrow::Borrow;
use kernel::{
    bindings,
    device::Device,
    faux,
    ffi::c_char,
    prelude::*, //
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

/// Initialises `slot`, which kernel 7.2 has a method for and 7.3 a function.
///
/// # Safety
///
/// `slot` must be valid for writes, and what it points to must not move afterwards.
pub(crate) unsafe fn raw_init<T>(slot: *mut T, init: impl PinInit<T>) {
    #[cfg(kernel_7_3)]
    // SAFETY: The safety requirements are the same.
    unsafe {
        pin_init::raw_init(slot, init)
    };
    #[cfg(not(kernel_7_3))]
    // SAFETY: The safety requirements are the same.
    let Ok(()) = unsafe { init.__pinned_init(slot) };
}

/// A function that prints a file in sysfs.
pub(crate) type ShowAttribute = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *mut c_char,
) -> isize;

/// Returns a `struct kobj_attribute` for reading. In kernel 7.3 a second, constant type of function
/// shares the field with this one.
pub(crate) fn kobj_attribute(
    attribute: bindings::attribute,
    show: ShowAttribute,
) -> bindings::kobj_attribute {
    // The type of the field is that of the binding: a function of another type does not compile.
    #[cfg(kernel_7_3)]
    let this = {
        let mut this: bindings::kobj_attribute = pin_init::zeroed();
        this.attr = attribute;
        this.__bindgen_anon_1.show = Some(show);
        this
    };
    #[cfg(not(kernel_7_3))]
    let this = bindings::kobj_attribute {
        attr: attribute,
        show: Some(show),
        ..pin_init::zeroed()
    };
    this
}
