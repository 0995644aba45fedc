// SPDX-License-Identifier: GPL-2.0

//! Names and numbers of tasks.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::bindings::{
    self as c,
    TASK_COMM_LEN, //
};
use kernel::{
    prelude::*,
    str::CString,
    task::Task, //
};

/// The size of a name in words of 64 bits.
const WORDS: usize = TASK_COMM_LEN / size_of::<u64>();
const _: () = assert!(WORDS * size_of::<u64>() == TASK_COMM_LEN);

/// The maximum number of times that a name is read again if it changes during the read.
const MAX_RETRIES: usize = 8;

/// Returns the name of the calling task. May sleep. Fails with `ENOMEM`.
pub(crate) fn current_comm() -> Result<CString> {
    let comm = Comm::current();
    let comm = CStr::from_bytes_until_nul(comm.0.as_bytes()).map_err(|_| EINVAL)?;
    Ok(CString::try_from(comm)?)
}

/// The name of a task, padded with zeros, in words of its bytes.
///
/// # Examples
///
/// ```
/// use crate::abstractions::task::Comm;
///
/// // The thread that runs the tests.
/// assert!(Comm::current().as_bytes().starts_with(b"kunit"));
/// ```
#[derive(Clone, Copy)]
pub(crate) struct Comm([u64; WORDS]);

impl Comm {
    /// Returns the name of the calling task. Does not sleep.
    pub(crate) fn current() -> Self {
        let read = || {
            let mut words = [0; WORDS];
            // SAFETY: The array has `TASK_COMM_LEN` bytes.
            unsafe { c::current_comm(words.as_mut_ptr()) };
            words
        };
        // The name has no lock, and another thread may change it at the same time. Two equal reads
        // are assumed to be consistent.
        let mut words = read();
        for _ in 0..MAX_RETRIES {
            let again = read();
            if again == words {
                break;
            }
            words = again;
        }
        if let Some(last) = words.as_mut_bytes().last_mut() {
            *last = 0;
        }
        Self(words)
    }

    /// Returns the name of `task`. Does not sleep.
    pub(crate) fn of(task: &Task) -> Self {
        let mut words = [0; WORDS];
        // SAFETY: The task is valid, and the array has `TASK_COMM_LEN` bytes.
        unsafe { c::task_comm(task.as_ptr(), words.as_mut_ptr().cast()) };
        Self(words)
    }

    /// Returns the bytes of the name with the zeros.
    pub(crate) fn padded(&self) -> [u8; TASK_COMM_LEN] {
        let mut padded = [0; TASK_COMM_LEN];
        padded.copy_from_slice(self.0.as_bytes());
        padded
    }

    /// Returns the bytes of the name, without the zeros. They are set by the program and may be
    /// anything else.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        crate::decisions::text::until_nul(self.0.as_bytes())
    }
}

/// Returns the PID of the calling process in the initial PID namespace.
pub(crate) fn current_tgid() -> i32 {
    // SAFETY: The function reads the current task and has no requirements.
    unsafe { c::current_tgid() }
}

/// Lets other tasks run if they wait for the CPU. May sleep.
pub(crate) fn reschedule() {
    // SAFETY: The function has no requirements other than that the caller may sleep.
    unsafe { c::cond_resched() };
}
