// SPDX-License-Identifier: GPL-2.0

//! The C operations of files that are printed as a whole.

use super::{
    Show,
    NO_OPERATIONS, //
};
use crate::{
    abstractions::privilege,
    bindings as c, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The maximum length of a text written to a file, in bytes.
const MAX_INPUT_LEN: usize = 32;

/// The C operations of a [`Show`] file.
pub(super) struct ShowFile<T: Show>(PhantomData<T>);

impl<T: Show> ShowFile<T> {
    pub(super) const OPERATIONS: c::proc_ops = c::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(c::seq_read),
        proc_write: Some(Self::write),
        proc_lseek: Some(c::seq_lseek),
        proc_release: Some(c::single_release),
        ..NO_OPERATIONS
    };

    /// # Safety
    ///
    /// Must be called by the proc file system as `proc_open` only.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: `file` is being opened by the safety requirements.
            if unsafe { c::opened_for_writing(file) } {
                privilege::require_admin()?;
            }
            // SAFETY: `file` is being opened for `inode` by the safety requirements.
            Ok(unsafe { c::single_open(file, Some(Self::show), c::pde_data(inode)) })
        })
    }

    /// # Safety
    ///
    /// Must be called by a sequence file that [`Self::open`] opened, with its mutex held.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The private data is the `T` of the file, which outlives the file's operations.
        // The mutex is held by the safety requirements, so no other thread accesses the sequence
        // file.
        let (this, file) = unsafe { (&*(*file).private.cast::<T>(), SeqFile::from_raw(file)) };
        from_result(|| this.show(file).map(|()| 0))
    }

    /// # Safety
    ///
    /// Must be called by the proc file system as `proc_write` only, for a file that [`Self::open`]
    /// opened.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        text: *const c_char,
        len: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        let written = || {
            let mut input = [0; MAX_INPUT_LEN];
            // No file accepts a longer text.
            let input = input.get_mut(..len).ok_or(EINVAL)?;
            let user = UserPtr::from_ptr(text.cast_mut().cast());
            UserSlice::new(user, len).reader().read_slice(input)?;
            // SAFETY: The data of the file is a `T`, which outlives the operations of the file.
            let this = unsafe { &*c::pde_data((*file).f_inode).cast::<T>() };
            this.write(input.trim_ascii())
        };
        match written() {
            Ok(()) => len as isize,
            Err(error) => error.to_errno() as isize,
        }
    }
}
