// SPDX-License-Identifier: GPL-2.0

//! Functions that are called at a tracepoint of the kernel.
//!
//! On all supported kernels a tracepoint calls its functions in the context that it is in. It
//! disables neither preemption nor interrupts: an SRCU read-side critical section keeps the
//! functions alive, also with `PREEMPT_RT`.
//!
//! The C side does all locking.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use crate::bindings as c;
use core::{
    ffi::c_void,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// A function registered at a tracepoint. Dropping it waits until the function has returned on all
/// CPUs, and may sleep.
///
/// # Invariants
///
/// `function` is registered at `tracepoint` with `data`.
#[must_use = "the function is unregistered when this is dropped"]
pub(crate) struct Probe {
    tracepoint: NonNull<bindings::tracepoint>,
    function: *mut c_void,
    data: *mut c_void,
}

// SAFETY: A probe is not bound to a thread. The C side does the locking.
unsafe impl Send for Probe {}
// SAFETY: As above.
unsafe impl Sync for Probe {}

impl Probe {
    /// Registers `function` at the tracepoint `name`.
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not have the tracepoint, with `EEXIST` if
    /// the function is registered with `data`, and with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `function` must have exactly the type of the tracepoint's functions: `data`, then the
    /// arguments of the tracepoint. A helper in C checks that against the kernel's declaration. It
    /// must be safe to call until the new value is dropped.
    pub(crate) unsafe fn register(
        name: &'static CStr,
        function: *mut c_void,
        data: *mut c_void,
    ) -> Result<Self> {
        let mut search = Search {
            name,
            found: ptr::null_mut(),
        };
        // SAFETY: `compare()` is called with valid tracepoints and with the pointer to the search.
        unsafe { c::for_each_kernel_tracepoint(Some(compare), (&raw mut search).cast()) };
        let tracepoint = NonNull::new(search.found).ok_or(ENOENT)?;
        // SAFETY: The tracepoint is part of the kernel and never freed. The caller promises that it
        // may call the function.
        to_result(unsafe { c::tracepoint_probe_register(tracepoint.as_ptr(), function, data) })?;
        // INVARIANT: The function was registered above.
        Ok(Self {
            tracepoint,
            function,
            data,
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the function is registered. The second call waits until it
        // has returned on all CPUs.
        unsafe {
            c::tracepoint_probe_unregister(self.tracepoint.as_ptr(), self.function, self.data);
            c::tracepoint_synchronize_unregister();
        }
    }
}

/// A search for a tracepoint.
struct Search {
    name: &'static CStr,
    found: *mut bindings::tracepoint,
}

/// Stores a pointer to the tracepoint that has the name of the search.
///
/// # Safety
///
/// `tracepoint` must be valid. `search` must be a valid pointer to a [`Search`].
unsafe extern "C" fn compare(tracepoint: *mut bindings::tracepoint, search: *mut c_void) {
    // SAFETY: By the safety requirements.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: By the safety requirements the tracepoint is valid. It has a name.
    if unsafe { CStr::from_char_ptr((*tracepoint).name) } == search.name {
        search.found = tracepoint;
    }
}
