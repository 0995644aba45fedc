// SPDX-License-Identifier: GPL-2.0

//! Files under `/proc`: short ones that are printed as a whole, and lists that are printed line by
//! line.
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use crate::bindings as c;
use core::{
    marker::PhantomData,
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
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

/// The longest text that can be written to a file.
const INPUT: usize = 32;

/// Operations that are not there.
// SAFETY: Zeros are a valid C structure: functions that are not there, and no flags.
const NO_OPERATIONS: c::proc_ops = unsafe { mem::zeroed() };

/// A file that is printed as a whole, and that can be written to where its mode says so.
pub(crate) trait Show: Send + Sync + 'static {
    /// Prints the file's whole content. May sleep.
    ///
    /// Called again with more room where the content did not fit, so it must not change anything.
    fn show(&self, file: &SeqFile) -> Result;

    /// Somebody writes `text`, without white space at its ends. May sleep.
    fn write(&self, _text: &[u8]) -> Result {
        Err(EINVAL)
    }
}

/// A file that is printed line by line. A reader who takes it in pieces loses no line and gets none
/// twice, whatever comes and goes meanwhile: a line has a position of its own, and reading goes on
/// at the next one.
pub(crate) trait List: 'static {
    /// What is kept while a file is open.
    type State: Send;
    /// What a line is about.
    type Item;

    /// The file is opened. May sleep.
    fn open() -> Result<Self::State>;

    /// Prints what stands above the lines. May sleep.
    fn header(file: &SeqFile) -> Result;

    /// The first item at `position` or behind it, and its own position. The first position is 1.
    /// May sleep.
    fn at(state: &Self::State, position: u64) -> Option<(u64, Self::Item)>;

    /// Prints an item's line. May sleep.
    fn show(state: &Self::State, file: &SeqFile, item: &Self::Item) -> Result;
}

/// Whether whoever opened the file may see physical addresses.
pub(crate) fn reader_is_admin(file: &SeqFile) -> bool {
    // SAFETY: The type is nothing but the C structure, which is valid.
    unsafe { c::reader_is_admin(ptr::from_ref(file).cast_mut().cast()) }
}

/// A folder directly under `/proc` and its files, all removed when this is dropped.
///
/// # Invariants
///
/// `entry` is a folder that was created by `proc_mkdir()` and not removed. `files` holds what the
/// data of its files points to.
pub(crate) struct Directory {
    entry: NonNull<bindings::proc_dir_entry>,
    files: KVec<KBox<dyn FileData>>,
}

/// The data of a file, of whatever type.
trait FileData: Send + Sync {}

impl<T: Show> FileData for T {}

// SAFETY: The proc file system does the locking.
unsafe impl Send for Directory {}
// SAFETY: As above.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes the folder. May sleep. Fails with `ENOMEM`, also where there is one of that name.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        let entry = unsafe { c::proc_mkdir(name.as_char_ptr(), ptr::null_mut()) };
        // INVARIANT: The folder was just made.
        Ok(Self {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            files: KVec::new(),
        })
    }

    /// Adds `file` to the folder under `name`, with access mode `mode`. May sleep. Fails with
    /// `ENOMEM`.
    pub(crate) fn add<T: Show>(&mut self, name: &CStr, mode: u16, file: T) -> Result {
        let file = KBox::new(file, GFP_KERNEL)?;
        let data: *const T = &raw const *file;
        self.files.push(file as KBox<dyn FileData>, GFP_KERNEL)?;
        // SAFETY: `data` is a `T` in a box that the folder keeps.
        unsafe { self.create(name, mode, &ShowFile::<T>::OPERATIONS, data.cast()) }
    }

    /// Adds a list to the folder under `name`, with access mode `mode`. May sleep. Fails with
    /// `ENOMEM`.
    pub(crate) fn add_list<T: List>(&mut self, name: &CStr, mode: u16) -> Result {
        // SAFETY: The operations of a list do not use the data.
        unsafe { self.create(name, mode, &ListFile::<T>::OPERATIONS, ptr::null()) }
    }

    /// Creates a file.
    ///
    /// # Safety
    ///
    /// `data` must be what `operations` expect, and stay as long as the folder does.
    unsafe fn create(
        &mut self,
        name: &CStr,
        mode: u16,
        operations: &'static c::proc_ops,
        data: *const c_void,
    ) -> Result {
        // SAFETY: The name is copied, the folder is there by the type's invariant, the operations
        // are static, and the data stays as the caller promises.
        let file = unsafe {
            c::proc_create_data(
                name.as_char_ptr(),
                mode,
                self.entry.as_ptr(),
                operations,
                data.cast_mut(),
            )
        };
        if file.is_null() {
            return Err(ENOMEM);
        }
        Ok(())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: The folder exists, by the type's invariant. Its files go with it; the call waits
        // for their readers, so nobody uses the data when it is dropped after this.
        unsafe { c::proc_remove(self.entry.as_ptr()) };
    }
}

/// The C operations of a [`Show`].
struct ShowFile<T: Show>(PhantomData<T>);

impl<T: Show> ShowFile<T> {
    const OPERATIONS: c::proc_ops = c::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(c::seq_read),
        proc_write: Some(Self::write),
        proc_lseek: Some(c::seq_lseek),
        proc_release: Some(c::single_release),
        ..NO_OPERATIONS
    };

    /// # Safety
    ///
    /// For the proc file system.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is being opened on this inode.
        unsafe { c::single_open(file, Some(Self::show), c::pde_data(inode)) }
    }

    /// # Safety
    ///
    /// For the sequence file: it is this thread's, and was opened by [`Self::open`].
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: As the caller promises. The private data is a `T`, which outlives the file's
        // operations.
        let (this, file) = unsafe { (&*(*file).private.cast::<T>(), SeqFile::from_raw(file)) };
        from_result(|| this.show(file).map(|()| 0))
    }

    /// # Safety
    ///
    /// For the proc file system: the text is a user's, and the file was opened by [`Self::open`].
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        text: *const c_char,
        len: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        let written = || {
            let mut input = [0; INPUT];
            // What is longer is nothing that anybody waits for.
            let input = input.get_mut(..len).ok_or(EINVAL)?;
            let user = UserPtr::from_ptr(text.cast_mut().cast());
            UserSlice::new(user, len).reader().read_slice(input)?;
            // SAFETY: The data of the file is a `T`, which outlives the file's operations.
            let this = unsafe { &*c::pde_data((*file).f_inode).cast::<T>() };
            this.write(input.trim_ascii())
        };
        match written() {
            Ok(()) => len as isize,
            Err(error) => error.to_errno() as isize,
        }
    }
}

/// The C operations of a [`List`].
struct ListFile<T: List>(PhantomData<T>);

/// What an open file has.
struct Open<T: List> {
    state: T::State,
    /// The line that is being printed. Taken and given back under the sequence file's lock.
    line: Option<Line<T::Item>>,
}

/// The line above all others, or an item's.
enum Line<I> {
    Header,
    Item(I),
}

impl<T: List> ListFile<T> {
    const OPERATIONS: c::proc_ops = c::proc_ops {
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
    /// For the proc file system.
    unsafe extern "C" fn open(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            let open = Open::<T> {
                state: T::open()?,
                line: None,
            };
            let open = KBox::new(open, GFP_KERNEL)?;
            // SAFETY: The file is being opened; the operations stay for good.
            let result = unsafe { bindings::seq_open(file, &Self::SEQUENCE) };
            if result == 0 {
                // SAFETY: The call has made a sequence file. `release()` takes the box back.
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
    /// For the proc file system: the file was opened by [`Self::open`].
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` has put the box there; nobody uses it any more.
        unsafe {
            let sequence = (*file).private_data.cast::<bindings::seq_file>();
            drop(KBox::from_raw((*sequence).private.cast::<Open<T>>()));
            bindings::seq_release(inode, file)
        }
    }

    /// # Safety
    ///
    /// `file` must be a sequence file that [`Self::open`] made, with its lock held for `'a`.
    unsafe fn opened<'a>(file: *mut bindings::seq_file) -> &'a mut Open<T> {
        // SAFETY: As the caller promises; what was opened is used under the lock only.
        unsafe { &mut *(*file).private.cast() }
    }

    /// Makes the line at `position` the one to be printed, and sets `position` to its own; null
    /// where there is none.
    fn line(open: &mut Open<T>, position: &mut bindings::loff_t) -> *mut c_void {
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
    /// For the sequence file.
    unsafe extern "C" fn start(
        file: *mut bindings::seq_file,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: As the caller promises.
        unsafe { Self::line(Self::opened(file), &mut *position) }
    }

    /// # Safety
    ///
    /// For the sequence file.
    unsafe extern "C" fn next(
        file: *mut bindings::seq_file,
        _: *mut c_void,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: As the caller promises.
        unsafe {
            *position += 1;
            Self::line(Self::opened(file), &mut *position)
        }
    }

    /// # Safety
    ///
    /// For the sequence file.
    unsafe extern "C" fn stop(file: *mut bindings::seq_file, _: *mut c_void) {
        // SAFETY: As the caller promises.
        unsafe { Self::opened(file) }.line = None;
    }

    /// # Safety
    ///
    /// For the sequence file.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: As the caller promises.
        let (open, file) = unsafe { (Self::opened(file), SeqFile::from_raw(file)) };
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
