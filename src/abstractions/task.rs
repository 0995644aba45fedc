// SPDX-License-Identifier: GPL-2.0

//! Who the calling task is.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::bindings as c;
use kernel::{
    prelude::*,
    str::CString,
    task::Task, //
};

/// The longest name of a task, with the zero at its end.
const NAME: usize = c::TASK_COMM_LEN;

/// How often a name is read again that changes while it is read.
const TRIES: usize = 8;

/// The name of the calling thread. May sleep. Fails with `ENOMEM`.
pub(crate) fn name() -> Result<CString> {
    let name = Name::current();
    let name = CStr::from_bytes_until_nul(&name.0).map_err(|_| EINVAL)?;
    Ok(CString::try_from(name)?)
}

/// A thread's name.
///
/// # Examples
///
/// ```
/// use crate::abstractions::task::Name;
///
/// // The tests' own thread.
/// assert!(Name::current().as_bytes().starts_with(b"kunit"));
/// ```
#[derive(Clone, Copy)]
pub(crate) struct Name([u8; NAME]);

impl Name {
    /// Of the calling thread. Does not sleep.
    pub(crate) fn current() -> Self {
        let read = || {
            let mut name = [0; NAME];
            // SAFETY: The array is as long as a task's name can be.
            unsafe { c::current_name(name.as_mut_ptr()) };
            if let Some(last) = name.last_mut() {
                *last = 0;
            }
            name
        };
        // Another thread may be changing it, for which the kernel has no lock: a name that is read
        // twice is whole.
        let mut name = read();
        for _ in 0..TRIES {
            let again = read();
            if again == name {
                break;
            }
            name = again;
        }
        Self(name)
    }

    /// Of `task`. Does not sleep.
    pub(crate) fn of(task: &Task) -> Self {
        let mut name = [0; NAME];
        // SAFETY: The task is valid, and the array is as long as a task's name can be.
        unsafe { c::task_name(task.as_ptr(), name.as_mut_ptr()) };
        Self(name)
    }

    /// The name's bytes. It is whatever a program says.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        crate::decisions::text::trimmed(&self.0)
    }
}

/// The number of the calling process, in the first pid namespace.
pub(crate) fn current_process() -> i32 {
    // SAFETY: There is always a current task.
    unsafe { c::current_process() }
}
