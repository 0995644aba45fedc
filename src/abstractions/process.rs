// SPDX-License-Identifier: GPL-2.0

//! Processes, and the dma-bufs that they hold: by a file descriptor, or by a mapping.
//!
//! C headers: [`include/linux/pid.h`](srctree/include/linux/pid.h),
//! [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    abstractions::task,
    bindings as c, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_uint, //
    },
    mm::MmWithUser,
    prelude::*,
    sync::{
        aref::ARef,
        rcu, //
    },
    task::Task, //
};

/// A process, which may have ended already.
pub(crate) struct Process {
    task: ARef<Task>,
    /// Its number in the first pid namespace.
    pub(crate) number: i32,
}

/// Calls `f` with each process, in the order of their numbers, until it fails. May sleep. Fails as
/// `f` does.
///
/// # Examples
///
/// ```
/// use crate::abstractions::process;
///
/// let (mut processes, mut last) = (0, 0);
/// process::try_for_each(|process| {
///     assert!(process.number > last);
///     last = process.number;
///     processes += 1;
///     Ok(())
/// })?;
/// assert!(processes > 0);
/// ```
pub(crate) fn try_for_each(mut f: impl FnMut(&Process) -> Result) -> Result {
    let mut number = 1;
    while let Some(process) = Process::from(&mut number) {
        if let Some(process) = process {
            f(&process)?;
        }
        let Some(next) = number.checked_add(1) else {
            break;
        };
        number = next;
    }
    Ok(())
}

impl Process {
    /// What has the lowest number from `number` on, which is set to it: a process, or something
    /// else that has a number.
    fn from(number: &mut i32) -> Option<Option<Self>> {
        let guard = rcu::read_lock();
        // SAFETY: The first namespace is always there, and the read lock is held.
        let pid = unsafe { c::find_ge_pid(*number, &raw mut bindings::init_pid_ns) };
        if pid.is_null() {
            return None;
        }
        // SAFETY: The read lock keeps what was found. The second call returns a reference, or null.
        let task = unsafe {
            *number = c::pid_nr(pid);
            c::get_pid_task(pid, bindings::pid_type_PIDTYPE_TGID)
        };
        drop(guard);
        Some(NonNull::new(task).map(|task| Self {
            // SAFETY: The reference is passed on.
            task: unsafe { ARef::from_raw(task.cast()) },
            number: *number,
        }))
    }

    /// The name of its first thread.
    pub(crate) fn name(&self) -> task::Name {
        task::Name::of(&self.task)
    }

    /// Calls `f` with the inode number of the dma-buf behind each file descriptor that is one. `f`
    /// must not sleep.
    pub(crate) fn for_each_descriptor(&self, mut f: impl FnMut(u64)) {
        let mut f: &mut dyn FnMut(u64) = &mut f;
        // SAFETY: The function is called with each open file and with `f`, which is there during
        // the call.
        unsafe { c::iterate_files(self.task.as_ptr(), Some(visit), (&raw mut f).cast()) };
    }

    /// Calls `f` with the inode number of the dma-buf behind each mapping that is one. May sleep;
    /// `f` must not.
    pub(crate) fn for_each_mapping(&self, mut f: impl FnMut(u64)) {
        // SAFETY: The task is valid; the call returns a reference, or null.
        let Some(memory) = NonNull::new(unsafe { c::get_task_mm(self.task.as_ptr()) }) else {
            return;
        };
        // SAFETY: The reference is passed on.
        let memory: ARef<MmWithUser> = unsafe { ARef::from_raw(memory.cast()) };
        let guard = memory.mmap_read_lock();
        let mut address = 0;
        loop {
            // SAFETY: The lock is held.
            let area = unsafe { c::find_vma(memory.as_raw(), address) };
            if area.is_null() {
                break;
            }
            // SAFETY: The lock keeps the area and its file.
            unsafe {
                visit_file((*area).vm_file, &mut f);
                address = (*area).__bindgen_anon_1.__bindgen_anon_1.vm_end;
            }
        }
        drop(guard);
    }
}

/// # Safety
///
/// For `iterate_fd()`: `f` points to a function, and `file` is open.
unsafe extern "C" fn visit(f: *const c_void, file: *mut bindings::file, _: c_uint) -> c_int {
    // SAFETY: As the caller promises.
    unsafe { visit_file(file, *f.cast_mut().cast::<&mut dyn FnMut(u64)>()) };
    0
}

/// # Safety
///
/// `file` must be open, or null.
unsafe fn visit_file(file: *mut bindings::file, f: &mut dyn FnMut(u64)) {
    // SAFETY: As the caller promises.
    let inode = unsafe { c::dma_buf_inode(file) };
    if inode != 0 {
        f(inode);
    }
}
