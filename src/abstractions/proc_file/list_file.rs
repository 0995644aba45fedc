// SPDX-License-Identifier: GPL-2.0

//! The C operations of files that are printed line by line.

use super::{
    List,
    NO_OPERATIONS, //
};
use crate::bindings as c;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile, //
};

/// The C operations of a [`List`] file.
pub(super) struct ListFile<T: List>(PhantomData<T>);

/// The private data of an open [`List`] file. The mutex of the sequence file protects it.
struct OpenList<T: List> {
    state: T::State,
    /// The line that is being printed. Set and cleared in one critical section.
    line: Option<Line<T::Item>>,
}

/// The heading or the line of an item.
enum Line<I> {
    Header,
    Item(I),
}

impl<T: List> ListFile<T> {
    pub(super) const OPERATIONS: c::proc_ops = c::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(c::seq_read),
        proc_lseek: Some(c::seq_lseek),
        proc_release: Some(Self::release),
        ..NO_OPERATIONS
    };

    const SEQUENCE: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// Must be called by the proc file system as `proc_open` only.
    unsafe extern "C" fn open(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            let open = OpenList::<T> {
                state: T::open()?,
                line: None,
            };
            let open = KBox::new(open, GFP_KERNEL)?;
            // SAFETY: The file is being opened by the safety requirements, and the operations are
            // static.
            let result = unsafe { bindings::seq_open(file, &Self::SEQUENCE) };
            if result == 0 {
                // SAFETY: The call succeeded, so the private data of the file is a sequence file.
                // `release()` acquires ownership of the box again.
                unsafe {
                    let sequence = (*file).private_data.cast::<bindings::seq_file>();
                    (*sequence).private = KBox::into_raw(open).cast();
                }
            }
            Ok(result)
        })
    }

    /// # Safety
    ///
    /// Must be called by the proc file system as `proc_release` only, for a file that
    /// [`Self::open`] opened.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` gave up ownership of the box, and no other operation uses it any more.
        unsafe {
            let sequence = (*file).private_data.cast::<bindings::seq_file>();
            drop(KBox::from_raw((*sequence).private.cast::<OpenList<T>>()));
            bindings::seq_release(inode, file)
        }
    }

    /// # Safety
    ///
    /// `file` must be a sequence file that [`Self::open`] opened. Its mutex must be held for `'a`,
    /// and no other reference to the private data may exist.
    unsafe fn open_list<'a>(file: *mut bindings::seq_file) -> &'a mut OpenList<T> {
        // SAFETY: `open()` set the private data, and the reference is exclusive by the safety
        // requirements.
        unsafe { &mut *(*file).private.cast() }
    }

    /// Selects the first line at or after `position` and sets `position` to the position of that
    /// line. Returns null after the last line.
    fn select_line(open: &mut OpenList<T>, position: &mut bindings::loff_t) -> *mut c_void {
        open.line = match *position {
            0 => Some(Line::Header),
            at => T::at(&open.state, at as u64).map(|(found, item)| {
                *position = found as bindings::loff_t;
                Line::Item(item)
            }),
        };
        match &open.line {
            Some(line) => ptr::from_ref(line).cast_mut().cast(),
            None => ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// Must be called by a sequence file that [`Self::open`] opened, with its mutex held.
    unsafe extern "C" fn start(
        file: *mut bindings::seq_file,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: The mutex is held by the safety requirements, so nothing else accesses the
        // private data or the position.
        unsafe { Self::select_line(Self::open_list(file), &mut *position) }
    }

    /// # Safety
    ///
    /// Must be called by a sequence file that [`Self::open`] opened, with its mutex held.
    unsafe extern "C" fn next(
        file: *mut bindings::seq_file,
        _: *mut c_void,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: The mutex is held by the safety requirements, so nothing else accesses the
        // private data or the position.
        unsafe {
            *position += 1;
            Self::select_line(Self::open_list(file), &mut *position)
        }
    }

    /// # Safety
    ///
    /// Must be called by a sequence file that [`Self::open`] opened, with its mutex held.
    unsafe extern "C" fn stop(file: *mut bindings::seq_file, _: *mut c_void) {
        // SAFETY: The mutex is held by the safety requirements, so nothing else accesses the
        // private data or the position.
        unsafe { Self::open_list(file) }.line = None;
    }

    /// # Safety
    ///
    /// Must be called by a sequence file that [`Self::open`] opened, with its mutex held.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: The mutex is held by the safety requirements, so no other thread accesses the
        // sequence file or its private data.
        let (open, file) = unsafe { (Self::open_list(file), SeqFile::from_raw(file)) };
        from_result(|| {
            match &open.line {
                Some(Line::Header) => T::header(file),
                Some(Line::Item(item)) => T::show(&open.state, file, item),
                None => Ok(()),
            }
            .map(|()| 0)
        })
    }
}
