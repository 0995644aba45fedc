// SPDX-License-Identifier: GPL-2.0

//! By the kernel's function tracer.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use super::EntryHandler;
use crate::bindings as c;
use core::{
    marker::PhantomData,
    mem, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*, //
};

/// How the hook is called: as long as it is registered, whatever tracing is switched off, and
/// without a look whether it is being called already, as it does not call what it hooks.
const FLAGS: c_ulong =
    (bindings::FTRACE_OPS_FL_PERMANENT | bindings::FTRACE_OPS_FL_RECURSION) as c_ulong;

/// A hook at the beginning of a function.
///
/// # Invariants
///
/// `operations` is registered, and does not move.
pub(crate) struct Tracer<T: EntryHandler> {
    operations: KBox<bindings::ftrace_ops>,
    _called: PhantomData<T>,
}

// SAFETY: The kernel's own locks protect a hook.
unsafe impl<T: EntryHandler> Send for Tracer<T> {}
// SAFETY: As above.
unsafe impl<T: EntryHandler> Sync for Tracer<T> {}

impl<T: EntryHandler> Tracer<T> {
    /// May sleep. Fails with `EBUSY` where tracing is switched off, and as `ftrace_set_filter()`
    /// does.
    pub(super) fn new(function: &'static CStr) -> Result<Self> {
        // SAFETY: Zeros are a valid C structure: pointers and functions that are not there, and
        // numbers.
        let mut operations: bindings::ftrace_ops = unsafe { mem::zeroed() };
        operations.func = Some(entered::<T>);
        operations.flags = FLAGS;
        let mut operations = KBox::new(operations, GFP_KERNEL)?;
        let raw: *mut bindings::ftrace_ops = &raw mut *operations;
        let length = c_int::try_from(function.to_bytes().len())?;
        let name = function.as_char_ptr().cast_mut().cast();
        // SAFETY: The structure is zeroed but for its function and flags, as it has to be, and is
        // not moved out of its box. The name is only read.
        unsafe {
            to_result(bindings::ftrace_set_filter(raw, name, length, 1))?;
            if let Err(error) = to_result(bindings::register_ftrace_function(raw)) {
                bindings::ftrace_free_filter(raw);
                return Err(error);
            }
        }
        // INVARIANT: Registered just now.
        Ok(Self {
            operations,
            _called: PhantomData,
        })
    }
}

impl<T: EntryHandler> Drop for Tracer<T> {
    fn drop(&mut self) {
        let raw: *mut bindings::ftrace_ops = &raw mut *self.operations;
        // SAFETY: By the type's invariant it is registered. The first call waits until nobody is in
        // the function.
        unsafe {
            bindings::unregister_ftrace_function(raw);
            bindings::ftrace_free_filter(raw);
        }
    }
}

/// # Safety
///
/// For the tracer: the function was just entered with these registers.
unsafe extern "C" fn entered<T: EntryHandler>(
    _: c_ulong,
    _: c_ulong,
    _: *mut bindings::ftrace_ops,
    registers: *mut bindings::ftrace_regs,
) {
    // SAFETY: As the caller promises.
    T::entered([0, 1].map(|index| unsafe { c::traced_argument(registers.cast(), index) }));
}
