// SPDX-License-Identifier: GPL-2.0

//! Directories under `/proc` with two types of files: [`Show`] prints a file as a whole, [`List`]
//! prints it line by line.
//!
//! # Locks
//!
//! The sequence file of each open file has a mutex, which is held around the reading functions of
//! both traits. It is not held around [`Show::write`].
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

/// The maximum length of a text written to a file, in bytes.
const MAX_INPUT_LEN: usize = 32;

/// A table without operations.
// SAFETY: The C structure consists of flags and optional function pointers, all of which may be
// zero.
const NO_OPERATIONS: c::proc_ops = unsafe { mem::zeroed() };

/// A file that is printed as a whole. It can be written if its mode allows it.
#[vtable]
pub(crate) trait Show: Send + Sync + 'static {
    /// Prints the whole content of the file. May sleep.
    ///
    /// It is called again with a larger buffer if the content did not fit, so it must have no side
    /// effects.
    fn show(&self, file: &SeqFile) -> Result;

    /// Handles a write of `text`, without leading and trailing white space. May sleep.
    ///
    /// Fails with `EINVAL` if the implementation does not override it.
    fn write(&self, _text: &[u8]) -> Result {
        Err(EINVAL)
    }
}

/// A file that is printed line by line.
///
/// Each line has a fixed position, and a read continues at the position after the last line. So a
/// reader that reads the file in several calls gets each line once, even if items are added and
/// removed in between.
///
/// # Examples
///
/// ```
/// use crate::abstractions::proc_file::{Directory, List};
/// use kernel::seq_file::{seq_print, SeqFile};
///
/// /// Prints the numbers from 1 to 3.
/// struct Numbers;
///
/// #[vtable]
/// impl List for Numbers {
///     type State = ();
///     type Item = u64;
///
///     fn open() -> Result {
///         Ok(())
///     }
///
///     fn header(file: &SeqFile) -> Result {
///         seq_print!(file, "number\n");
///         Ok(())
///     }
///
///     fn at((): &(), position: u64) -> Option<(u64, u64)> {
///         (position <= 3).then_some((position, position))
///     }
///
///     fn show((): &(), file: &SeqFile, item: &u64) -> Result {
///         seq_print!(file, "{}\n", item);
///         Ok(())
///     }
/// }
///
/// let mut directory = Directory::new(c"rk_dma_heap_example_list")?;
/// directory.add_list::<Numbers>(c"numbers", 0o444)?;
/// ```
#[vtable]
pub(crate) trait List: 'static {
    /// The state of an open file.
    type State: Send;
    /// The subject of a line.
    type Item;

    /// Creates the state of a file that is being opened. May sleep.
    fn open() -> Result<Self::State>;

    /// Prints the heading above all lines. May sleep.
    fn header(file: &SeqFile) -> Result;

    /// Returns the first item at or after `position`, and the position of that item. May sleep.
    ///
    /// Positions of items begin at 1 and are at most `i64::MAX`.
    fn at(state: &Self::State, position: u64) -> Option<(u64, Self::Item)>;

    /// Prints the line of `item`. May sleep.
    fn show(state: &Self::State, file: &SeqFile, item: &Self::Item) -> Result;
}

/// Returns whether the opener of `file` had `CAP_SYS_ADMIN`, which allows it to see physical
/// addresses.
pub(crate) fn reader_is_admin(file: &SeqFile) -> bool {
    // SAFETY: `SeqFile` is a transparent wrapper of the C structure, which is valid.
    unsafe { c::reader_is_admin(ptr::from_ref(file).cast_mut().cast()) }
}

/// A directory under `/proc` with its files.
///
/// Dropping it waits for operations on the files and removes the directory and the files.
///
/// # Examples
///
/// ```
/// use crate::abstractions::proc_file::{Directory, Show};
/// use kernel::seq_file::{seq_print, SeqFile};
///
/// struct Answer;
///
/// #[vtable]
/// impl Show for Answer {
///     fn show(&self, file: &SeqFile) -> Result {
///         seq_print!(file, "42\n");
///         Ok(())
///     }
/// }
///
/// let mut directory = Directory::new(c"rk_dma_heap_example")?;
/// directory.add(c"answer", 0o444, Answer)?;
/// // The name is in use until the directory is dropped.
/// drop(directory);
/// drop(Directory::new(c"rk_dma_heap_example")?);
/// ```
///
/// # Invariants
///
/// `entry` was created by `proc_mkdir()` and is removed only when this value is dropped. `files`
/// holds the data of each [`Show`] file in the directory.
#[must_use = "the directory and its files are removed when this is dropped"]
pub(crate) struct Directory {
    entry: NonNull<bindings::proc_dir_entry>,
    files: KVec<KBox<dyn FileData>>,
}

/// The data of a file, without its type.
trait FileData: Send + Sync {}

impl<T: Show> FileData for T {}

// SAFETY: The proc file system locks its entries, and `files` is `Send`.
unsafe impl Send for Directory {}
// SAFETY: A shared reference gives no access to the fields.
unsafe impl Sync for Directory {}

impl Directory {
    /// Creates the directory `/proc/NAME`.
    ///
    /// May sleep. Fails with `ENOMEM`, also if the name exists.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        let entry = unsafe { c::proc_mkdir(name.as_char_ptr(), ptr::null_mut()) };
        // INVARIANT: The directory is new and has no files.
        Ok(Self {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            files: KVec::new(),
        })
    }

    /// Adds `file` as `name` with access mode `mode`.
    ///
    /// May sleep. Fails with `ENOMEM`, also if the name exists.
    pub(crate) fn add<T: Show>(&mut self, name: &CStr, mode: u16, file: T) -> Result {
        let file = KBox::new(file, GFP_KERNEL)?;
        let data: *const T = &raw const *file;
        self.files.push(file as KBox<dyn FileData>, GFP_KERNEL)?;
        // SAFETY: `data` is a `T` in a box that `files` owns until the directory is removed.
        unsafe { self.create(name, mode, &ShowFile::<T>::OPERATIONS, data.cast()) }
    }

    /// Adds the list `T` as `name` with access mode `mode`.
    ///
    /// May sleep. Fails with `ENOMEM`, also if the name exists.
    pub(crate) fn add_list<T: List>(&mut self, name: &CStr, mode: u16) -> Result {
        // SAFETY: The operations of a list do not access the data.
        unsafe { self.create(name, mode, &ListFile::<T>::OPERATIONS, ptr::null()) }
    }

    /// Creates a file.
    ///
    /// # Safety
    ///
    /// `data` must be of the type that `operations` expect and must stay valid until the directory
    /// is removed.
    unsafe fn create(
        &mut self,
        name: &CStr,
        mode: u16,
        operations: &'static c::proc_ops,
        data: *const c_void,
    ) -> Result {
        // SAFETY: The name is copied. By the type invariant the directory exists. The operations
        // are static, and the data stays valid by the safety requirements.
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
        // SAFETY: By the type invariant the directory exists. The call removes its files as well
        // and waits for their operations, so nothing uses the data when `files` is dropped after
        // this.
        unsafe { c::proc_remove(self.entry.as_ptr()) };
    }
}

/// The C operations of a [`Show`] file.
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
    /// Must be called by the proc file system as `proc_open` only.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `file` is being opened for `inode` by the safety requirements.
        unsafe { c::single_open(file, Some(Self::show), c::pde_data(inode)) }
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

/// The C operations of a [`List`] file.
struct ListFile<T: List>(PhantomData<T>);

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
