// SPDX-License-Identifier: GPL-2.0

//! Processes, and the dma-bufs that they hold by file descriptors and by mappings.
//!
//! # Locks
//!
//! [`Process::for_each_descriptor`] acquires the `alloc_lock` of a thread and, inside of it, the
//! `file_lock` of its file table, both spin locks, and releases them after a few hundred
//! descriptors. [`Process::for_each_mapping`] acquires the mmap read lock. One lookup of a process
//! is one RCU read-side critical section.
//!
//! C headers: [`include/linux/pid.h`](srctree/include/linux/pid.h),
//! [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    abstractions::{
        signal,
        task, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::MmWithUser,
    prelude::*,
    sync::{
        aref::ARef,
        rcu, //
    },
    task::Task,
    types::ScopeGuard, //
};

/// A reference to a process, which may have exited.
pub(crate) struct Process {
    task: ARef<Task>,
    /// The PID in the initial PID namespace.
    pub(crate) pid: i32,
}

/// Calls `f` for each process in ascending order of PIDs until it fails.
///
/// May sleep; `f` may sleep as well. Fails as `f` does, and with `EINTR` on a fatal signal.
///
/// # Examples
///
/// ```
/// use crate::abstractions::process;
///
/// let (mut processes, mut last) = (0, 0);
/// process::try_for_each(|process| {
///     assert!(process.pid > last);
///     last = process.pid;
///     processes += 1;
///     Ok(())
/// })?;
/// assert!(processes > 0);
/// ```
///
/// A process is examined with the methods of [`Process`]:
///
/// ```
/// use crate::abstractions::process;
///
/// let mut held = 0_usize;
/// process::try_for_each(|process| {
///     assert!(!process.name().as_bytes().contains(&0));
///     process.for_each_descriptor(|inode| held += usize::from(inode != 0))?;
///     process.for_each_mapping(|inode| held += usize::from(inode != 0))
/// })?;
/// ```
pub(crate) fn try_for_each(mut f: impl FnMut(&Process) -> Result) -> Result {
    let mut pid = 1;
    while let Some(process) = Process::find_ge(&mut pid) {
        signal::check_fatal()?;
        if let Some(process) = process {
            f(&process)?;
        }
        let Some(next) = pid.checked_add(1) else {
            break;
        };
        pid = next;
    }
    Ok(())
}

impl Process {
    /// Finds the lowest allocated PID that is at least `*pid` and stores it in `pid`.
    ///
    /// Returns the process with that PID, `Some(None)` if the PID belongs to something else, for
    /// example to another thread of a process, or `None` if there is no further PID.
    fn find_ge(pid: &mut i32) -> Option<Option<Self>> {
        let guard = rcu::read_lock();
        // SAFETY: The initial namespace always exists, and the RCU read lock is held.
        let found = unsafe { c::find_ge_pid(*pid, &raw mut bindings::init_pid_ns) };
        if found.is_null() {
            return None;
        }
        // SAFETY: The RCU read lock keeps `found` valid. `get_pid_task()` returns a new reference,
        // or null.
        let task = unsafe {
            *pid = c::pid_nr(found);
            c::get_pid_task(found, bindings::pid_type_PIDTYPE_TGID)
        };
        drop(guard);
        Some(NonNull::new(task).map(|task| Self {
            // SAFETY: `ARef` acquires the ownership of the new reference. `Task` is a transparent
            // wrapper of the C structure.
            task: unsafe { ARef::from_raw(task.cast()) },
            pid: *pid,
        }))
    }

    /// Returns the name of the first thread. Does not sleep.
    pub(crate) fn name(&self) -> task::Comm {
        task::Comm::of(&self.task)
    }

    /// Calls `f` with the inode number of the dma-buf for each file descriptor of a dma-buf.
    /// Descriptors of `O_PATH` do not count: they give no access to the memory.
    ///
    /// The descriptors are those of the first thread that has not exited. Fails with `EINTR` on a
    /// fatal signal. May sleep. `f` is called with spin locks held, so it must not sleep.
    pub(crate) fn for_each_descriptor(&self, mut f: impl FnMut(u64)) -> Result {
        let mut f: &mut dyn FnMut(u64) = &mut f;
        let mut descriptor = 0;
        // SAFETY: The task is valid. `visit_descriptor()` is called with open files and with the
        // pointer to `f`, which is valid during the call.
        while unsafe {
            c::visit_files(
                self.task.as_ptr(),
                &mut descriptor,
                Some(visit_descriptor),
                (&raw mut f).cast(),
            )
        } {
            signal::check_fatal()?;
            task::reschedule();
        }
        Ok(())
    }

    /// Calls `f` with the inode number of the dma-buf for each mapping of a dma-buf.
    ///
    /// Fails with `EINTR` on a fatal signal. May sleep. `f` is called with the mmap read lock held,
    /// so it must not sleep.
    pub(crate) fn for_each_mapping(&self, mut f: impl FnMut(u64)) -> Result {
        // SAFETY: The task is valid. The function returns a new reference, or null.
        let Some(mm) = NonNull::new(unsafe { c::process_mm(self.task.as_ptr()) }) else {
            return Ok(());
        };
        // SAFETY: `ARef` acquires the ownership of the new reference. `MmWithUser` is a transparent
        // wrapper of the C structure.
        let mm: ARef<MmWithUser> = unsafe { ARef::from_raw(mm.cast()) };
        // SAFETY: The reference keeps the address space valid.
        to_result(unsafe { c::mmap_read_lock_killable(mm.as_raw()) })?;
        let guard = ScopeGuard::new(|| {
            // SAFETY: The lock was acquired above.
            unsafe { bindings::mmap_read_unlock(mm.as_raw()) };
        });
        let mut address = 0;
        loop {
            signal::check_fatal()?;
            // SAFETY: The mmap read lock is held.
            let area = unsafe { c::find_vma(mm.as_raw(), address) };
            if area.is_null() {
                break;
            }
            // SAFETY: The mmap read lock keeps the area and its file valid.
            unsafe {
                visit_file((*area).vm_file, &mut f);
                address = (*area).__bindgen_anon_1.__bindgen_anon_1.vm_end;
            }
        }
        drop(guard);
        Ok(())
    }
}

/// Calls `f` with the inode number of `file` if it is a dma-buf.
///
/// # Safety
///
/// `f` must point to a valid `&mut dyn FnMut(u64)` that nothing else uses during the call. `file`
/// must be an open file.
unsafe extern "C" fn visit_descriptor(f: *mut c_void, file: *mut bindings::file) {
    // SAFETY: `f` and `file` are valid by the safety requirements.
    unsafe { visit_file(file, *f.cast::<&mut dyn FnMut(u64)>()) };
}

/// Calls `f` with the inode number of `file` if it is a dma-buf.
///
/// # Safety
///
/// `file` must be an open file, or null.
unsafe fn visit_file(file: *mut bindings::file, f: &mut dyn FnMut(u64)) {
    // SAFETY: `file` is an open file or null by the safety requirements.
    let inode = unsafe { c::dma_buf_inode(file) };
    if inode != 0 {
        f(inode);
    }
}
