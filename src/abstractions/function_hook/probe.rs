// SPDX-License-Identifier: GPL-2.0

//! By a kprobe.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use super::EntryHandler;
use crate::bindings as c;
use core::{
    marker::PhantomData,
    mem, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    prelude::*, //
};

/// A kprobe at the beginning of a function.
///
/// # Invariants
///
/// `probe` is registered, and does not move.
pub(crate) struct Probe<T: EntryHandler> {
    probe: KBox<c::kprobe>,
    _called: PhantomData<T>,
}

// SAFETY: The kernel's own locks protect a kprobe.
unsafe impl<T: EntryHandler> Send for Probe<T> {}
// SAFETY: As above.
unsafe impl<T: EntryHandler> Sync for Probe<T> {}

impl<T: EntryHandler> Probe<T> {
    pub(super) fn new(function: &'static CStr) -> Result<Self> {
        // SAFETY: Zeros are a valid C structure: pointers and functions that are not there, and
        // numbers.
        let mut probe: c::kprobe = unsafe { mem::zeroed() };
        probe.symbol_name = function.as_char_ptr();
        probe.pre_handler = Some(entered::<T>);
        let mut probe = KBox::new(probe, GFP_KERNEL)?;
        // SAFETY: The probe is zeroed but for its name and handler, as it has to be, and is not
        // moved out of its box.
        to_result(unsafe { c::register_kprobe((&raw mut *probe).cast()) })?;
        // INVARIANT: Registered just now.
        Ok(Self {
            probe,
            _called: PhantomData,
        })
    }
}

impl<T: EntryHandler> Drop for Probe<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is registered. The call waits until nobody is in the
        // handler.
        unsafe { c::unregister_kprobe((&raw mut *self.probe).cast()) };
    }
}

/// # Safety
///
/// For the kprobe: the function was just entered with these registers.
unsafe extern "C" fn entered<T: EntryHandler>(
    _: *mut c::kprobe,
    registers: *mut bindings::pt_regs,
) -> c_int {
    // SAFETY: As the caller promises.
    T::entered([0, 1].map(|index| unsafe { c::argument(registers, index) }));
    0
}
