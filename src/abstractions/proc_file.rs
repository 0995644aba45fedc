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

mod list_file;
mod show_file;

use crate::bindings as c;
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    ffi::c_void,
    prelude::*,
    seq_file::SeqFile, //
};
use list_file::ListFile;
use show_file::ShowFile;

/// A table without operations.
// SAFETY: The C structure consists of flags and optional function pointers, all of which may be
// zero.
const NO_OPERATIONS: c::proc_ops = unsafe { mem::zeroed() };

/// A file that is printed as a whole.
///
/// It can be opened for writing if its mode allows it and the opener has `CAP_SYS_ADMIN` in the
/// initial user namespace; `open()` fails with `EPERM` otherwise.
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

    /// Creates the state of a file that is being opened by the calling task. May sleep.
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
