// SPDX-License-Identifier: GPL-2.0

//! Files under `/proc`.
//!
//! C header: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h)

use crate::bindings as c;
use core::ptr::{self, NonNull};
use kernel::{
    bindings,
    ffi::{c_int, c_void},
    prelude::*,
    seq_file::SeqFile,
    sync::Arc,
};

/// What a file shows.
pub(crate) trait Show: Send + Sync + 'static {
    /// Prints the file's whole content. May sleep.
    ///
    /// Called again with more room where the content did not fit, so it must not change anything.
    fn show(&self, file: &SeqFile) -> Result;
}

/// A folder directly under `/proc` and its files, all removed when this is dropped.
///
/// # Invariants
///
/// `entry` is a folder that was made by `proc_mkdir()` and not removed; its files show what `contents` holds.
pub(crate) struct Directory {
    entry: NonNull<bindings::proc_dir_entry>,
    contents: KVec<Arc<dyn Show>>,
}

// SAFETY: The proc file system does the locking.
unsafe impl Send for Directory {}
// SAFETY: As above.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes the folder. May sleep. Fails with `ENOMEM`, also where there is one of that name.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        let entry = unsafe { c::proc_mkdir(name.as_char_ptr(), ptr::null_mut()) };
        // INVARIANT: The folder was just made, without files.
        Ok(Self {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            contents: KVec::new(),
        })
    }

    /// Makes a file in the folder, with access mode `mode`, that shows `content`.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn add<T: Show>(&mut self, name: &CStr, mode: u16, content: Arc<T>) -> Result {
        let data = Arc::as_ptr(&content).cast_mut().cast();
        // INVARIANT: The content is kept before there is a file that shows it.
        self.contents.push(content, GFP_KERNEL)?;
        // SAFETY: The name is copied; `show()` expects a `T`, which stays for as long as the file does.
        let file = unsafe {
            c::proc_create_single_data(
                name.as_char_ptr(),
                mode,
                self.entry.as_ptr(),
                Some(show::<T>),
                data,
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
        // SAFETY: The folder exists, by the type's invariant. Its files go with it; the call waits for their readers.
        unsafe { c::proc_remove(self.entry.as_ptr()) };
    }
}

/// # Safety
///
/// For the proc file system: `file` is a file that [`Directory::add`] made for a `T`.
unsafe extern "C" fn show<T: Show>(file: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `private` is the content, which stays while the file is read; the sequence file is this thread's.
    let (content, file) = unsafe { (&*(*file).private.cast::<T>(), SeqFile::from_raw(file)) };
    match content.show(file) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
