// SPDX-License-Identifier: GPL-2.0

//! The calling task's name.
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
