// SPDX-License-Identifier: GPL-2.0

//! Who may see and change what concerns all users.
//!
//! A container sees the files of this module as well, and its root has the user ID 0. So the access
//! mode of a file is not sufficient: capabilities in the initial user namespace decide.
//!
//! C headers: [`include/linux/capability.h`](srctree/include/linux/capability.h),
//! [`include/linux/cred.h`](srctree/include/linux/cred.h)

use crate::{
    abstractions::dma_buf::Pinned,
    bindings as c, //
};
use core::{
    cell::Cell,
    ptr, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

/// Checks that the calling task has `CAP_SYS_ADMIN` in the initial user namespace. Does not sleep.
///
/// Fails with `EPERM`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::privilege;
///
/// // The thread that runs the tests belongs to the kernel.
/// privilege::require_admin()?;
/// ```
pub(crate) fn require_admin() -> Result {
    // SAFETY: The function reads the current task and has no requirements.
    match unsafe { c::current_is_admin() } {
        true => Ok(()),
        false => Err(EPERM),
    }
}

/// What the opener of a file may see, determined once per open file.
///
/// # Examples
///
/// ```
/// use crate::abstractions::privilege::Reader;
///
/// let reader = Reader::default();
/// # let _ = reader;
/// ```
#[derive(Default)]
pub(crate) struct Reader(Cell<Option<Privileges>>);

/// The privileges of a reader.
#[derive(Clone, Copy)]
pub(crate) struct Privileges {
    /// Whether the reader may see physical addresses: `CAP_SYS_ADMIN`.
    pub(crate) sees_addresses: bool,
    /// Whether the reader may see the names and numbers of all processes, see [`inspects_all`].
    pub(crate) inspects_all: bool,
}

impl Privileges {
    /// Returns those of the opener of `file`. Does not sleep.
    pub(crate) fn of(file: &SeqFile) -> Self {
        let sees_addresses = reader_is_admin(file);
        Self {
            sees_addresses,
            inspects_all: sees_addresses || inspects_all(file),
        }
    }
}

impl Reader {
    /// Returns the privileges of the opener of `file`, which must be the same at each call. Does
    /// not sleep.
    pub(crate) fn privileges(&self, file: &SeqFile) -> Privileges {
        let privileges = self.0.get().unwrap_or_else(|| Privileges::of(file));
        self.0.set(Some(privileges));
        privileges
    }
}

/// Returns whether the opener of `file` had `CAP_SYS_ADMIN`, which allows it to see physical
/// addresses.
pub(crate) fn reader_is_admin(file: &SeqFile) -> bool {
    // SAFETY: `SeqFile` is a transparent wrapper of the C structure, which is valid.
    unsafe { c::reader_is_admin(ptr::from_ref(file).cast_mut().cast()) }
}

/// Returns whether the opener of `file` may see the names and numbers of all processes:
/// `CAP_SYS_ADMIN` or `CAP_SYS_PTRACE` in the initial user namespace. Does not sleep.
fn inspects_all(file: &SeqFile) -> bool {
    // SAFETY: `SeqFile` is a transparent wrapper of the C structure, which is valid.
    unsafe { c::reader_inspects_all(ptr::from_ref(file).cast_mut().cast()) }
}

/// Returns whether the opener of `file` may see the name and number of the process that has
/// exported `dma_buf`.
///
/// Besides those who inspect all processes these are tasks of the same user and group that have
/// each capability that the exporting task had, in the initial PID namespace. `hidepid=2` hides all
/// other processes from them. They see no name once only paths refer to the dma-buf: its file has
/// the credentials. Does not sleep.
pub(crate) fn inspects_exporter(file: &SeqFile, privileges: Privileges, dma_buf: &Pinned) -> bool {
    if privileges.inspects_all {
        return true;
    }
    let Some(counted) = dma_buf.file() else {
        return false;
    };
    // SAFETY: `SeqFile` is a transparent wrapper of the C structure, which is valid. So are the
    // dma-buf and its file, to which `counted` holds a reference.
    unsafe {
        c::reader_inspects(
            ptr::from_ref(file).cast_mut().cast(),
            (*counted.as_raw()).file,
        )
    }
}
