// SPDX-License-Identifier: GPL-2.0

//! Function hooks by kprobes.
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

/// A kprobe at the entry of [`EntryHandler::FUNCTION`].
///
/// # Invariants
///
/// `probe` is registered with the handler of `T`.
pub(crate) struct Probe<T: EntryHandler> {
    probe: KBox<c::kprobe>,
    _handler: PhantomData<T>,
}

// SAFETY: A kprobe is not bound to a thread. The C side does the locking.
unsafe impl<T: EntryHandler> Send for Probe<T> {}
// SAFETY: As above.
unsafe impl<T: EntryHandler> Sync for Probe<T> {}

impl<T: EntryHandler> Probe<T> {
    /// Registers a kprobe. May sleep. Fails as `register_kprobe()` does.
    pub(super) fn new() -> Result<Self> {
        // SAFETY: Zeroes are valid for all fields: pointers, `Option`s of functions and integers.
        let mut probe: c::kprobe = unsafe { mem::zeroed() };
        probe.symbol_name = T::FUNCTION.as_char_ptr();
        probe.pre_handler = Some(entered::<T>);
        let mut probe = KBox::new(probe, GFP_KERNEL)?;
        // SAFETY: The probe is zeroed except for the name and the handler. The box does not move it
        // and is freed after the probe is unregistered.
        to_result(unsafe { c::register_kprobe((&raw mut *probe).cast()) })?;
        // INVARIANT: The probe was registered above.
        Ok(Self {
            probe,
            _handler: PhantomData,
        })
    }
}

impl<T: EntryHandler> Drop for Probe<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the probe is registered. The call waits until the handler
        // has returned on all CPUs.
        unsafe { c::unregister_kprobe((&raw mut *self.probe).cast()) };
    }
}

/// # Safety
///
/// `registers` must be those at the entry of [`EntryHandler::FUNCTION`].
unsafe extern "C" fn entered<T: EntryHandler>(
    _: *mut c::kprobe,
    registers: *mut bindings::pt_regs,
) -> c_int {
    // SAFETY: By the safety requirements.
    unsafe { T::entered([0, 1].map(|index| c::argument(registers, index))) };
    0
}
