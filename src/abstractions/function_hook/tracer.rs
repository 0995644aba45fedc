// SPDX-License-Identifier: GPL-2.0

//! Function hooks by the function tracer.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use super::EntryHandler;
use crate::{
    abstractions::kernel_symbol,
    bindings as c, //
};
use core::{
    marker::PhantomData,
    mem, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_ulong,
    prelude::*, //
};

/// The callback is called as long as it is registered: `kernel.ftrace_enabled` cannot be cleared.
///
/// `FTRACE_OPS_FL_RECURSION` is not set. It puts a guard between the function and the callback,
/// which disables preemption, drops calls, and on arm64 keeps the function from calling the
/// callback without a search. A handler does not need it, since it does not call the function.
const FLAGS: c_ulong = bindings::FTRACE_OPS_FL_PERMANENT as c_ulong;

/// An ftrace callback at the entry of [`EntryHandler::FUNCTION`].
///
/// # Invariants
///
/// `operations` is registered with the callback of `T`.
pub(crate) struct Tracer<T: EntryHandler> {
    operations: KBox<bindings::ftrace_ops>,
    _handler: PhantomData<T>,
}

// SAFETY: A callback is not bound to a thread. The C side does the locking.
unsafe impl<T: EntryHandler> Send for Tracer<T> {}
// SAFETY: As above.
unsafe impl<T: EntryHandler> Sync for Tracer<T> {}

impl<T: EntryHandler> Tracer<T> {
    /// Registers a callback.
    ///
    /// The function is looked up by its address: a search by name would compare the names of all
    /// functions of the kernel, with several hundred instructions each.
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not have the function or has no kprobes,
    /// with `EBUSY` if tracing is disabled, and as `ftrace_set_filter_ip()` does.
    pub(super) fn new() -> Result<Self> {
        let address = kernel_symbol::lookup(T::FUNCTION).ok_or(ENOENT)?;
        // SAFETY: Zeroes are valid for all fields: pointers, `Option`s of functions and integers.
        let mut operations: bindings::ftrace_ops = unsafe { mem::zeroed() };
        operations.func = Some(entered::<T>);
        operations.flags = FLAGS;
        let mut operations = KBox::new(operations, GFP_KERNEL)?;
        let raw: *mut bindings::ftrace_ops = &raw mut *operations;
        let address = address.as_ptr() as c_ulong;
        // SAFETY: The structure is zeroed except for the function and the flags. The box does not
        // move it and is freed after the callback is unregistered.
        unsafe {
            to_result(bindings::ftrace_set_filter_ip(raw, address, 0, 1))?;
            if let Err(error) = to_result(bindings::register_ftrace_function(raw)) {
                bindings::ftrace_free_filter(raw);
                return Err(error);
            }
        }
        // INVARIANT: The callback was registered above.
        Ok(Self {
            operations,
            _handler: PhantomData,
        })
    }
}

impl<T: EntryHandler> Drop for Tracer<T> {
    fn drop(&mut self) {
        let raw: *mut bindings::ftrace_ops = &raw mut *self.operations;
        // SAFETY: By the type invariants the callback is registered. The first call waits until it
        // has returned on all CPUs.
        unsafe {
            bindings::unregister_ftrace_function(raw);
            bindings::ftrace_free_filter(raw);
        }
    }
}

/// # Safety
///
/// `registers` must be those at the entry of [`EntryHandler::FUNCTION`].
unsafe extern "C" fn entered<T: EntryHandler>(
    _: c_ulong,
    _: c_ulong,
    _: *mut bindings::ftrace_ops,
    registers: *mut bindings::ftrace_regs,
) {
    // SAFETY: By the safety requirements.
    unsafe { T::entered([0, 1].map(|index| c::traced_argument(registers.cast(), index))) };
}
