// SPDX-License-Identifier: GPL-2.0

//! Who the calling task is.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::bindings as c;
use kernel::{prelude::*, str::CString};

/// The longest name of a task, with the zero at its end.
const NAME: usize = c::TASK_COMM_LEN;

/// The name of the calling thread. May sleep. Fails with `ENOMEM`.
pub(crate) fn name() -> Result<CString> {
    let mut name = [0; NAME];
    // SAFETY: The array is as long as a task's name can be.
    unsafe { c::current_name(name.as_mut_ptr()) };
    Ok(CString::try_from(
        CStr::from_bytes_until_nul(&name).map_err(|_| EINVAL)?,
    )?)
}

/// What tells a thread from others.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    /// The process, as a number of the first pid namespace.
    pub(crate) process: i32,
    name: [u8; NAME],
}

impl Identity {
    /// Of the calling thread. Does not sleep.
    pub(crate) fn current() -> Self {
        let mut this = Self {
            process: 0,
            name: [0; NAME],
        };
        // SAFETY: The array is as long as a task's name can be.
        unsafe {
            this.process = c::current_process();
            c::current_name(this.name.as_mut_ptr());
        }
        this
    }

    /// The thread's name.
    pub(crate) fn name(&self) -> &[u8] {
        crate::text::trimmed(&self.name)
    }
}
